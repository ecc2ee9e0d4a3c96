"""The words of commands: how they are built and named, and which of them change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from ..errors import PermissionDeniedError, ServerError, UnsupportedServerError
from ..wire.keys import absent
from ..wire.replies import as_text
from . import functions

Arg = str | bytes | int | float

_READS = frozenset(
    """
    PING TIME ECHO INFO DBSIZE TYPE EXISTS TTL PTTL EXPIRETIME PEXPIRETIME SCAN GET MGET STRLEN GETRANGE
    HGET HMGET HGETALL HKEYS HVALS HLEN HEXISTS HSTRLEN HSCAN LLEN LRANGE LINDEX LPOS SCARD SISMEMBER
    SMISMEMBER SMEMBERS SSCAN ZCARD ZCOUNT ZSCORE ZMSCORE ZRANK ZREVRANK ZRANGE ZREVRANGE ZRANGEBYSCORE
    ZREVRANGEBYSCORE ZSCAN XLEN XRANGE XREVRANGE XREAD XPENDING XINFO FCALL_RO EVAL_RO EVALSHA_RO
    FT.SEARCH FT.INFO FT._LIST
    """.split()  # noqa: SIM905 - one table, not ninety lines
)
_READING_SUBCOMMANDS = frozenset(
    """
    ACL|WHOAMI ACL|DRYRUN ACL|GETUSER CLIENT|ID CLIENT|INFO CLIENT|LIST CLUSTER|INFO CLUSTER|NODES CLUSTER|SHARDS
    CLUSTER|SLOTS COMMAND|INFO CONFIG|GET FUNCTION|LIST MEMORY|USAGE OBJECT|ENCODING
    """.split()  # noqa: SIM905
)


def is_read(words: Sequence[str | bytes]) -> bool:
    """Tell whether a command is known to change nothing; what is not known here is taken for a change."""
    said = [as_text(word).upper() for word in words[:2]]
    return said[0] in _READS or "|".join(said) in _READING_SUBCOMMANDS


def to_words(args: Sequence[Arg]) -> list[str | bytes]:
    """Arguments as the driver takes them."""
    return [arg if isinstance(arg, (str, bytes)) else str(arg) for arg in args]


def fcall_words(command: str, function: str, key: str | None, args: Sequence[Arg]) -> list[str | bytes]:
    """Call of one of our functions on a queue prefix, or on none.

    A function finds its keys itself, some here and some not yet here while a slot moves from node to node. Two declared
    keys of which none exists make either node refuse the call (TRYAGAIN) before it has written anything.
    """
    return [*_fcall_head(command, function, key), *to_words(args)]


@lru_cache(maxsize=4_096)
def _fcall_head(command: str, function: str, key: str | None) -> tuple[bytes, ...]:
    """The words that are the same in every call of a function on a queue, as the driver sends them."""
    keys = ("0",) if key is None else ("2", key, absent(key))
    return tuple(word.encode() for word in (command, functions.name(function), *keys))


def name_of(words: Sequence[str | bytes]) -> str:
    """Name of a command for people; calls of functions with the function."""
    first = as_text(words[0])
    if first.startswith("FCALL") or first == "FUNCTION":
        return f"{first} {as_text(words[1])}"
    return first


def key_of(words: Sequence[str | bytes]) -> str | None:
    """Key that a command names, for messages: most do so first, some after a word of their own."""
    at = 2 if as_text(words[0]).upper() in ("XINFO", "XGROUP", "OBJECT", "MEMORY") else 1
    return as_text(words[at]) if len(words) > at else None


def read_only_error(command: str) -> PermissionDeniedError:
    """What a change meets on a read-only connection."""
    return PermissionDeniedError(
        f"'{command}' would change something, and this connection is read-only",
        hint="leave out --read-only (read_only=True, ?read_only=1)",
        reason="read_only",
        command=command,
    )


def other_build_error(address: str, found: object) -> ServerError:
    """What a call meets where a library has our name and another text: what it answers is not what we read."""
    said = as_text(found) if isinstance(found, (bytes, str)) else "nothing"
    return ServerError(
        f"the function library {functions.LIBRARY} on {address} is of another build than this release "
        f"(it says '{said}', not '{functions.build()}')",
        hint=functions.RELOAD,
        command="FCALL version",
        code="LIBRARY",
    )


def no_functions_error(address: str, version: str | None = None) -> UnsupportedServerError:
    """What every call meets on a server without functions; `version` where it is known."""
    which = f" is version {version}, which" if version else ""
    return UnsupportedServerError(
        f"{address}{which} has no server functions",
        hint=f"glidemq needs Valkey 7.2 or Redis {functions.OLDEST_MAJOR}.0 and newer",
        feature="functions",
        found=version,
        needed=f"{functions.OLDEST_MAJOR}.0",
    )
