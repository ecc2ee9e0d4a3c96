"""Keys that a test left behind and nothing will remove: outside of its prefix, or of jobs that are gone."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..server.connection import Connection

#: Kinds of keys that go with a job, `P:<kind>:<id>`, beside its hash `P:job:<id>`.
_OF_A_JOB = "log deps parents jstream signals ledger early vec kept reserved"
#: Keys that a message names.
_NAMED = 10


async def all_keys(connection: Connection) -> set[str]:
    """Return the names of all keys of a server."""
    found: set[str] = set()
    cursor = b"0"
    while True:
        cursor, names = await connection.command("SCAN", cursor, "COUNT", 1_000)
        found.update(name.decode("utf-8", "surrogateescape") for name in names)
        if cursor == b"0":
            return found


async def leaked_keys(connection: Connection, before: set[str]) -> dict[str, list[str]]:
    """Return what was left behind, by what is wrong with it.

    Args:
        before: the keys of the server when the test began.
    """
    now = await all_keys(connection)
    home = f"{connection.prefix}:"
    outside = sorted(name for name in now - before if not name.startswith(home))
    pattern = re.compile(re.escape(home) + rf"(\{{[^}}]*\}}):({'|'.join(_OF_A_JOB.split())}):(.+)", re.DOTALL)
    orphans = []
    for name in sorted(now):
        match = pattern.fullmatch(name)
        if match is None or f"{home}{match[1]}:job:{match[3]}" in now:
            continue
        if await connection.command("TTL", name.encode("utf-8", "surrogateescape")) == -1:
            orphans.append(name)
    found = {
        f"outside of the test's prefix '{connection.prefix}' (a queue that was not given the connection?)": outside,
        "of jobs that are gone": orphans,
    }
    return {what: names for what, names in found.items() if names}


def leak_message(leaks: dict[str, list[str]]) -> str:
    """Say in words which keys were left behind."""
    return "; ".join(f"keys left {what}: {_listed(names)}" for what, names in leaks.items())


def _listed(names: Iterable[str]) -> str:
    shown = [repr(name) for name in names]
    more = f" and {len(shown) - _NAMED} more" if len(shown) > _NAMED else ""
    return ", ".join(shown[:_NAMED]) + more
