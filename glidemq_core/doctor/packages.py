"""Check how this package was installed."""

from __future__ import annotations

from ..installed import DISTRIBUTIONS, installed
from ..records import Check

ID = "installation"


def installation() -> Check:
    """Check that not both distributions of this package are installed: they hold the same files."""
    found = installed()
    names = " and ".join(f"{name} {version}" for name, version in found.items())
    if len(found) < 2:
        return Check(id=ID, status="ok", summary=names or "run from its sources")
    return Check(
        id=ID,
        status="warn",
        summary=f"{names} are both installed",
        detail="they hold the same files: the one that was installed last is in use, and uninstalling either breaks it",
        fix=f"pip uninstall {' '.join(DISTRIBUTIONS)}, then install one of them",
    )
