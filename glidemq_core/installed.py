"""Under which name this package was installed: `glidemq`, or `glidemq-core` without console and commands."""

from __future__ import annotations

from functools import cache

#: Distributions that hold this package; only one of them should be installed.
DISTRIBUTIONS = ("glidemq", "glidemq-core")


def installed() -> dict[str, str]:
    """Return the versions of the installed distributions that hold this package, by name.

    Empty for a source tree that was never installed; two if one was installed over the other.
    """
    from importlib.metadata import PackageNotFoundError, version  # slow to load

    found: dict[str, str] = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def package_version() -> str:
    """Return the version of this package, `unknown` for a source tree that was never installed."""
    return next(iter(installed().values()), "unknown")


def extra(name: str) -> str:
    """Return what to give to `pip install` for an extra of this package, such as `glidemq[search]`."""
    return f"{next(iter(installed()), DISTRIBUTIONS[0])}[{name}]"
