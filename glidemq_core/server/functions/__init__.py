"""Our server functions: one `.lua` file a concern, assembled into one library, versioned and loaded on demand.

The library's name carries its version, so two releases run side by side and nothing is replaced under a
running worker. `versions.txt` pins the digest of every released version; a test fails when a `.lua` file
changed and `VERSION` did not.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

VERSION = 6
LIBRARY = f"gmq{VERSION}"
#: What helps where a library has our name that is not ours.
RELOAD = f"FUNCTION DELETE {LIBRARY} on the server: it is loaded again at the next call"
#: Major version of the first servers with functions.
OLDEST_MAJOR = 7


def name(function: str) -> str:
    """Full name of one of our functions on the server."""
    return f"{LIBRARY}_{function}"


@cache
def _template() -> str:
    """Assemble the parts, with the library's name and build left open."""
    texts = {
        file.name: file.read_text("utf-8")
        for file in files(__package__).iterdir()
        if file.name.endswith(".lua")
    }
    # What all share stands in the first; the others are a block each, for Lua allows 200 locals at a time.
    body = texts.pop("prelude.lua") + "".join(f"do\n{texts[name]}\nend\n" for name in sorted(texts))
    return "#!lua name=@LIB@\n" + body


@cache
def source() -> str:
    """Return the whole library, ready for FUNCTION LOAD."""
    return _template().replace("@LIB@", LIBRARY).replace("@BUILD@", digest()[:16])


@cache
def digest() -> str:
    """SHA-256 of the assembled parts without the version, pinned per version in `versions.txt`."""
    return hashlib.sha256(_template().encode()).hexdigest()


def build() -> str:
    """What the library's `version` answers: its name, and which text of it this is."""
    return f"{LIBRARY} {digest()[:16]}"
