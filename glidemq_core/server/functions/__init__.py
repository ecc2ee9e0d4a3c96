"""Our server functions: one `.lua` file a concern, assembled into one library, versioned and loaded on demand.

The library's name carries its version, so two releases run side by side and nothing is replaced under a
running worker. `versions.txt` pins the digest of every released version; a test fails when a `.lua` file
changed and `VERSION` did not.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

VERSION = 3
LIBRARY = f"gmq{VERSION}"
#: Major version of the first servers with functions.
OLDEST_MAJOR = 7

#: Files in the order in which they are assembled: a file may use what an earlier one defines.
PARTS = (
    "prelude",
    "audit",
    "groups",
    "schedules",
    "jobs",
    "flows",
    "outbox",
    "usage",
    "budgets",
    "runs",
    "links",
    "add",
    "flow_add",
    "flow_parts",
    "dead_letters",
    "settle",
    "claim",
    "exchange",
    "workers",
    "suspension",
    "streams",
    "vectors",
    "control",
    "queue_admin",
    "sweeps",
    "forgetting",
    "repairs",
    "lists",
    "watch",
    "flow_watch",
)


def name(function: str) -> str:
    """Full name of one of our functions on the server."""
    return f"{LIBRARY}_{function}"


@cache
def source() -> str:
    """Return the whole library, ready for FUNCTION LOAD."""
    folder = files(__package__)
    first, *others = (folder.joinpath(f"{part}.lua").read_text("utf-8") for part in PARTS)
    # A block each: Lua allows 200 locals at a time, and what parts share stands in the first.
    body = first + "".join(f"do\n{text}\nend\n" for text in others)
    return f"#!lua name={LIBRARY}\n" + body.replace("@LIB@", LIBRARY)


def digest() -> str:
    """SHA-256 of the assembled parts without the version, pinned per version in `versions.txt`."""
    return hashlib.sha256(source().replace(LIBRARY, "@LIB@").encode()).hexdigest()
