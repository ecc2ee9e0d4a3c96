"""What users of the server need for what they are for, as the words of `ACL SETUSER`; docs/security.md shows them."""

from __future__ import annotations

from ..server.functions import LIBRARY, name

_READS = "-@all +@read +@connection -@dangerous +ping +info +fcall_ro +acl|whoami"
_WRITES = _READS.replace("+@read", "+@read +@write")
#: Beside `+@write`, so many functions or all of them.
_FUNCTIONS = {
    "producer": " ".join(f"+fcall|{name(one)}" for one in ("add", "add_plain", "add_flow")),
    "approver": " ".join(f"+fcall|{name(one)}" for one in ("may_write", "decide", "signal")),
    "worker": "+fcall +function|load",
    "operator": "+fcall +function|load",
}
USERS = ("viewer", *_FUNCTIONS)
#: Texts that name the version of the functions, for pages to be brought up to date.
VERSIONED = LIBRARY.rstrip("0123456789")


def rules(user: str, prefix: str = "glide") -> str:
    """Return all that a user of this kind may do. The order counts: `+@write` last would let in what is dangerous."""
    if user == "viewer":
        return f"resetkeys %R~{prefix}:* resetchannels {_READS}"
    return f"resetkeys ~{prefix}:* resetchannels {_WRITES} {_FUNCTIONS[user]}"
