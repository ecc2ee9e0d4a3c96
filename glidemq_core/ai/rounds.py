"""The round of a suspended job: what its latest run streamed, read once to be shown and hashed."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ..errors import ServerError
from ..records import StreamChunk, ToolCall
from ..records.decoding import Fields, decode_chunk
from ..wire.entry_ids import parse_id
from ..wire.numbers import size_words
from ..wire.replies import as_text
from ..wire.strict_json import compact_json

#: Runs a plain command.
Ask = Callable[..., Awaitable[Any]]

#: Entries, and bytes of them, at either end of a round that the deciding call reads again; as in the functions.
WINDOW_ENTRIES: Final = 2_000
WINDOW_BYTES: Final = 1_048_576
#: Kinds of chunks that are counted by name, and characters of a name.
_KINDS, _KIND_LENGTH = 32, 40
#: Tool calls over a limit that are named one by one.
_NAMED = 3
#: Fields that hold the arguments if they stand alone; of any other chunk all fields are shown.
_ARGUMENTS: Final = ("args", "arguments", "input", "content", "t", "token", "text", "delta")
#: Characters of a name that are shown.
_NAME_LIMIT: Final = 256
#: Bytes that one page of a stream aims at, and its entries at most.
_PAGE_BYTES, _PAGE = 1_048_576, 1_000
_BEGINNING: Final = "0-0"
_ENTRY_ID: Final = re.compile(r"\d{1,20}-\d{1,20}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a round is shown and read.

    Attributes:
        draft: bytes of the draft.
        calls: tool calls.
        call, all_calls: characters of one tool call and of all.
    """

    draft: int
    calls: int
    call: int
    all_calls: int
    #: Entries and bytes after which reading ends; None: never.
    entries: int | None = None
    read: int | None = None
    #: Entries that are read at first.
    first: int = 200


#: No more than a program can sensibly hold.
WHOLE: Final = Limits(draft=67_108_864, calls=100_000, call=67_108_864, all_calls=67_108_864)


def limits_of(payload_limit: int | None) -> Limits:
    """Return the limits for a review that shows so many bytes of a payload; None shows everything."""
    if payload_limit is None:
        return WHOLE
    return Limits(
        draft=payload_limit, calls=20, call=16_384, all_calls=65_536, entries=10_000, read=524_288, first=4
    )


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """What XINFO tells of a stream; `last` is the id of its newest entry, "" if there is none."""

    last: str = ""
    #: The same facts as text, as the functions write it; "" for a stream that does not exist.
    text: str = ""


def stream_facts(answer: Any) -> StreamFacts:
    """Read an answer of XINFO STREAM.

    Raises:
        GlideMQError: the answer is an error, other than that the stream does not exist.
    """
    if isinstance(answer, ServerError) and "no such key" in str(answer):
        return StreamFacts()
    if isinstance(answer, Exception):
        raise answer
    newest = answer[b"last-entry"]
    last = as_text(newest[0]) if newest else ""
    deleted = as_text(answer[b"max-deleted-entry-id"])
    return StreamFacts(last, f"{last} {answer[b'length']} {answer[b'entries-added']} {deleted}")


def round_start(fields: Fields) -> str:
    """Return the id after which the round begins, noted when its run was claimed; without a note the round is all."""
    noted, _, entry_id = as_text(fields.get("roundFrom")).partition(":")
    valid = noted and noted == as_text(fields.get("processedOn")) and _ENTRY_ID.fullmatch(entry_id)
    return entry_id if valid else _BEGINNING


@dataclass(frozen=True, slots=True)
class Window:
    """Entries at one end of a round and the SHA-1 of their text."""

    entries: int = 0
    sha1: str = ""


@dataclass(frozen=True, slots=True)
class Round:
    """A round as it is shown; hash and windows are of what was read of it."""

    draft: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    chunks: Mapping[str, int] = field(default_factory=dict)
    #: Descriptions of what a limit left out.
    hidden: tuple[str, ...] = ()
    last: str = ""
    entries: int = 0
    sha256: str = hashlib.sha256().hexdigest()
    head: Window = Window()
    tail: Window = Window()


async def read_round(ask: Ask, key: str, start: str, newest: str, limits: Limits) -> Round:
    """Read the entries after `start` up to `newest`; "" if the stream is empty."""
    if not newest or parse_id(newest) <= parse_id(start):
        return Round()
    reading = _RoundBuilder(limits)
    after, count = start, limits.first
    while True:
        page = await ask("XRANGE", key, f"({after}", newest, "COUNT", count)
        size = 0
        for entry_id, pairs in (page or {}).items():
            size += reading.add(entry_id, pairs)
            after = entry_id.decode()
        found = len(page or {})
        if found < count or after == newest:
            return reading.result(complete=True)
        if reading.is_enough():
            return reading.result(complete=False)
        count = max(1, min(_PAGE, _PAGE_BYTES * found // max(1, size)))
        if limits.read is not None:
            # A chunk may hold a megabyte or a letter: ask for as many as make a reply of reasonable size.
            count = max(1, min(count, limits.read // 8 * found // max(1, size)))


class _RoundBuilder:
    """Builds a round from its entries."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._draft: list[str] = []
        self._draft_bytes = 0
        self._calls: deque[ToolCall] = deque()
        self._calls_bytes = 0
        self._earlier = 0
        self._kinds: Counter[str] = Counter()
        self._last = b""
        self._entries = 0
        self._bytes = 0
        self._sha256 = hashlib.sha256()
        self._head: list[bytes] = []
        self._head_bytes = 0
        self._head_full = False
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0

    def add(self, entry_id: bytes, pairs: Sequence[Sequence[bytes]]) -> int:
        """Add an entry; returns its size in bytes."""
        text = entry_text(entry_id, pairs)
        self._sha256.update(text)
        self._last = entry_id
        self._entries += 1
        self._bytes += len(text)
        self._keep_ends(text)
        self._show(decode_chunk(entry_id, pairs))
        return len(text)

    def is_enough(self) -> bool:
        """Tell whether a limit is reached, so that no more is shown."""
        limits = self._limits
        return (
            (limits.entries is not None and self._entries >= limits.entries)
            or (limits.read is not None and self._bytes >= limits.read)
            or (limits.read is not None and self._draft_bytes > limits.draft)
        )

    def result(self, *, complete: bool) -> Round:
        limits = self._limits
        hidden = []
        draft = "".join(self._draft)
        if self._draft_bytes > limits.draft:
            draft = draft.encode()[: limits.draft].decode("utf-8", "ignore")
            hidden.append(f"draft after {size_words(limits.draft)}")
        if self._earlier:
            hidden.append(f"{self._earlier} earlier tool call{'' if self._earlier == 1 else 's'}")
        cut = [call.bytes for call in self._calls if call.cut]
        if len(cut) <= _NAMED:
            hidden += [f"1 tool call of {size_words(size)}" for size in cut]
        else:
            hidden.append(f"{len(cut)} tool calls over {size_words(limits.call)}")
        if not complete:
            hidden.append(f"its stream after {self._entries:,} entries")
        return Round(
            draft=draft or None,
            tool_calls=tuple(self._calls),
            chunks=dict(self._kinds),
            hidden=tuple(hidden),
            last=self._last.decode(),
            entries=self._entries,
            sha256=self._sha256.hexdigest(),
            head=_window(self._head),
            tail=_window(self._tail),
        )

    def _keep_ends(self, text: bytes) -> None:
        if not self._head_full:
            fits = not self._head or self._head_bytes + len(text) <= WINDOW_BYTES
            self._head_full = not fits or len(self._head) == WINDOW_ENTRIES
            if not self._head_full:
                self._head.append(text)
                self._head_bytes += len(text)
                return
        self._tail.append(text)
        self._tail_bytes += len(text)
        while len(self._tail) > WINDOW_ENTRIES or (self._tail_bytes > WINDOW_BYTES and len(self._tail) > 1):
            self._tail_bytes -= len(self._tail.popleft())

    def _show(self, chunk: StreamChunk) -> None:
        # A tool call that is also the last chunk is shown as a call.
        is_call = chunk.get("type") == "tool_call"
        kind = "tool_call" if is_call else chunk.type[:_KIND_LENGTH]
        self._kinds[kind if kind in self._kinds or len(self._kinds) < _KINDS else "other"] += 1
        if is_call:
            self._keep_call(tool_call_of(chunk, self._limits.call))
        elif chunk.type in ("content", "done") and chunk.text and self._draft_bytes <= self._limits.draft:
            self._draft.append(chunk.text)
            self._draft_bytes += len(chunk.text.encode())

    def _keep_call(self, call: ToolCall) -> None:
        self._calls.append(call)
        self._calls_bytes += len(call.args)
        while len(self._calls) > 1 and (
            len(self._calls) > self._limits.calls or self._calls_bytes > self._limits.all_calls
        ):
            self._calls_bytes -= len(self._calls.popleft().args)
            self._earlier += 1


def entry_text(entry_id: bytes, pairs: Sequence[Sequence[bytes]]) -> bytes:
    """Write an entry as it is hashed, every word with its length; the server functions write the same."""
    words = [entry_id, *(word for pair in pairs for word in pair)]
    return b"%d " % len(words) + b"".join(b"%d:%b" % (len(word), word) for word in words)


def _window(texts: Sequence[bytes]) -> Window:
    return Window(len(texts), hashlib.sha1(b"".join(texts)).hexdigest()) if texts else Window()


def tool_call_of(chunk: StreamChunk, limit: int | None = None) -> ToolCall:
    """Read a chunk of type `tool_call` with every field; `limit`: characters of the arguments kept, None for all."""
    name = chunk.get("name", "")
    rest = [(field, value) for field, value in chunk.pairs if field not in ("type", "name")]
    if len(rest) == 1 and rest[0][0] in _ARGUMENTS:
        args = rest[0][1]
    elif len(dict(rest)) == len(rest):
        args = compact_json(dict(rest)) if rest else ""
    else:
        args = compact_json(rest)
    kept = args if limit is None else args[:limit]
    return ToolCall(
        name=name[:_NAME_LIMIT] if limit is not None else name,
        args=kept,
        bytes=sum(len(field.encode()) + len(value.encode()) for field, value in chunk.pairs),
        cut=len(kept) < len(args) or (limit is not None and len(name) > _NAME_LIMIT),
    )
