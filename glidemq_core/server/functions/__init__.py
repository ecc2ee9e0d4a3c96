"""Our server functions: one `.lua` file a concern, assembled into one library, versioned and loaded on demand.

The library's name carries its version, so two releases run side by side and nothing is replaced under a
running worker. `versions.txt` pins the digest of every released version; a test fails when a `.lua` file
changed and `VERSION` did not.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

VERSION = 4
LIBRARY = f"gmq{VERSION}"
#: Major version of the first servers with functions.
OLDEST_MAJOR = 7


def name(function: str) -> str:
    """Full name of one of our functions on the server."""
    return f"{LIBRARY}_{function}"


@cache
def source() -> str:
    """Return the whole library, ready for FUNCTION LOAD."""
    texts = {
        file.name: file.read_text("utf-8")
        for file in files(__package__).iterdir()
        if file.name.endswith(".lua")
    }
    # What all share stands in the first; the others are a block each, for Lua allows 200 locals at a time.
    body = texts.pop("prelude.lua") + "".join(f"do\n{texts[name]}\nend\n" for name in sorted(texts))
    return f"#!lua name={LIBRARY}\n" + body.replace("@LIB@", LIBRARY)


def digest() -> str:
    """SHA-256 of the assembled parts without the version, pinned per version in `versions.txt`."""
    return hashlib.sha256(source().replace(LIBRARY, "@LIB@").encode()).hexdigest()
