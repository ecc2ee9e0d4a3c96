"""Check and repair of damaged audits, to which nothing can be appended."""

from __future__ import annotations

from collections.abc import Sequence

from ..jobs.audit import restart_audit, verify_audit
from ..options.job import Actor
from ..reading.reader import Reader
from ..records import Check, OperationResult
from ..watch import Watch
from ..wire.replies import as_text, failed, integer, text
from .findings import result, verdict

#: Longest audit whose hashes are recomputed; longer ones are left to `glidemq audit --verify`.
_VERIFIED = 5_000


async def audits(_: Watch, reader: Reader, names: Sequence[str]) -> Check:
    """Find damaged audits: changes that are audited are refused until those are set aside."""
    found = await _damaged(reader, names)
    if found is None:
        return Check(id="audit", status="skip", summary="this user may not call our server functions")
    return verdict(
        "audit",
        [f"{name}: {why}" for name, (why, _seen) in found.items()],
        good="no audit is damaged, as far as they were checked",
        bad="damaged audits: where the newest entry is damaged, decisions and other changes are refused",
        status="fail",
        fix="glidemq doctor QUEUE --repair sets it aside and begins a new one that names its last hash",
    )


async def restart_audits(
    _: Watch, reader: Reader, names: Sequence[str], actor: Actor
) -> list[OperationResult]:
    """Set damaged audits aside; the server checks each again."""
    results = []
    for name, (why, seen) in (await _damaged(reader, names) or {}).items():
        outcome, key = await restart_audit(reader.context(name), actor=actor, seen=seen)
        message = f"{why}; it is kept as {key}" if key else None
        results.append(result("restart_audit", name, outcome, message=message))
    return results


async def _damaged(reader: Reader, names: Sequence[str]) -> dict[str, tuple[str, str]] | None:
    """Return by queue why its audit is damaged, and its newest entry where only recomputing tells.

    None where this user may not call our server functions.
    """
    states = await reader.call_each("audit_state", [(reader.keys(name).root, ()) for name in names])
    if states is None:
        return None
    found: dict[str, tuple[str, str]] = {}
    for name, state in zip(names, states, strict=True):
        if failed(state):
            continue
        if text(state[0]) == "damaged":
            found[name] = (as_text(state[1]), "")
        elif 0 < integer(state[1]) <= _VERIFIED:
            check = await verify_audit(reader.context(name))
            if not check.ok:
                found[name] = (f"its chain is broken at entry {check.broken_at}", f"{as_text(state[1])}-0")
    return found
