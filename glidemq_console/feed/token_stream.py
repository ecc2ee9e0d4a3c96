"""Following one token stream for a pane: what came and is not drawn yet, how fast, and whether it has gone quiet."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Literal

from glidemq_core.errors import GlideMQError, JobNotFoundError

from ..text.safe import json_line

if TYPE_CHECKING:
    from glidemq_core import JobRef, StreamChunk

    from .protocol import Feed

Kind = Literal["content", "reasoning", "tool", "other", "note"]

#: Pieces that wait to be drawn at most; the reader then waits, and the stream stays on the server.
MAX_READY = 5_000
#: Pieces that one frame takes.
FRAME_PIECES = 2_000
#: Chunks that rates and gaps are measured on.
SAMPLE = 4_096
RATE_WINDOW_MS = 5_000
#: What comes after this much following is live, what comes before was there already.
CATCH_UP_MS = 1_000
#: A gap is worth telling from here on, and when it is this many times the usual one.
LEAST_GAP_MS, UNUSUAL = 2_000, 5
#: The longest pause that a replay keeps at speed 1.
REPLAY_GAP_MS = 5_000
SPEEDS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


class Meter:
    """When chunks came. Times are epoch ms: those of the entries by the server's clock, arrivals by ours."""

    def __init__(self) -> None:
        self.chunks = 0
        self.first_ms: int | None = None
        self._times: deque[int] = deque(maxlen=SAMPLE)
        self._last_seen: int | None = None

    def add(self, times: Sequence[int], arrived_ms: int, *, live: bool) -> None:
        """Count entries of these times; what is live counts as come now, whatever the server's clock says."""
        if not times:
            return
        if self.first_ms is None:
            self.first_ms = times[0]
        self.chunks += len(times)
        self._times.extend(times)
        self._last_seen = arrived_ms if live else min(arrived_ms, times[-1])

    def first_after_ms(self, started_ms: int | None) -> int | None:
        """Time from the start of the run to its first token; None where that cannot be known."""
        if started_ms is None or self.first_ms is None:
            return None
        if self.first_ms >= started_ms:
            return self.first_ms - started_ms
        kept_all = self.chunks == len(self._times)
        first = next((at for at in self._times if at >= started_ms), None)
        return first - started_ms if first is not None and kept_all else None

    def rate(self, now_ms: int) -> float:
        """Chunks a second in the last seconds."""
        if self._last_seen is None or not self._times:
            return 0.0
        end = self._times[-1] + max(0, now_ms - self._last_seen)
        count = len(self._times) - bisect_right(self._times, end - RATE_WINDOW_MS)
        span = min(RATE_WINDOW_MS, max(1_000, end - (self.first_ms or end)))
        return count * 1_000 / span

    def gap_ms(self, now_ms: int) -> int | None:
        return None if self._last_seen is None else max(0, now_ms - self._last_seen)

    def unusual_gap_ms(self, now_ms: int) -> int | None:
        """The same when it is longer than this stream's gaps usually are, else None."""
        gap = self.gap_ms(now_ms)
        if gap is None:
            return None
        recent = list(self._times)[-50:]
        usual = (recent[-1] - recent[0]) / (len(recent) - 1) if len(recent) > 1 else 0
        return gap if gap > max(LEAST_GAP_MS, UNUSUAL * usual) else None


def piece_of(chunk: StreamChunk) -> tuple[Kind, str] | None:
    """What of a chunk is drawn, and as what; None for a bare done marker. The text is still foreign."""
    kind, text = chunk.type, chunk.text
    if kind in ("content", "done"):
        return ("content", text) if text else None
    if kind == "reasoning":
        return ("reasoning", text) if text else None
    if kind == "tool_call":
        name, arguments = chunk.get("name", ""), chunk.get("args", "")
        said = text if not arguments and text.startswith(name) else f"{name} {arguments or text}"
        return "tool", said.strip() or json_line(dict(chunk))
    if kind == "attempt":
        return "note", f"— attempt {chunk.get('n', text)} {chunk.get('model', '')}".rstrip()
    if kind == "error":
        return "other", f"error {text or json_line(dict(chunk))}"
    return "other", f"{kind} {text}" if text and len(chunk) <= 2 else json_line(dict(chunk))


def _at_ms(chunk: StreamChunk) -> int:
    """When a chunk was written, epoch ms by the server's clock: the first half of its id."""
    milliseconds = chunk.id.partition("-")[0]
    return int(milliseconds) if milliseconds.isdecimal() else 0


class Follower:
    """Reads one stream in a task of its own; whoever draws calls `take` as often as it likes."""

    def __init__(
        self,
        ref: JobRef,
        feed: Feed,
        clock: Callable[[], int],
        arrived: Callable[[], None] = lambda: None,
    ) -> None:
        """Make what reads the stream of a job; `arrived` is called when something waits to be drawn."""
        self.ref = ref
        self.meter = Meter()
        self.ended = False
        #: Why nothing more comes, when that is not the job's end.
        self.trouble: str | None = None
        #: Times as fast as it was; None when following live.
        self.speed: float | None = None
        self._feed = feed
        self._clock = clock
        self._arrived = arrived
        self._ready: deque[tuple[Kind, str]] = deque()
        self._drained = asyncio.Event()
        self._go = asyncio.Event()
        self._go.set()
        self._task: asyncio.Task[None] | None = None
        #: Time of the chunk that was replayed last.
        self._replayed_ms: int | None = None

    @property
    def paused(self) -> bool:
        return not self._go.is_set()

    def start(self) -> None:
        """Read from the beginning of the stream."""
        self._task = asyncio.create_task(self._run(), name=f"follow {self.ref}")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def toggle_pause(self) -> None:
        """Hold what comes back on the server, or go on where it was left."""
        if self.paused:
            self._go.set()
        else:
            self._go.clear()

    async def restart(self, speed: float | None) -> None:
        """Read again from the beginning: at a speed, or at once up to what is live."""
        await self.stop()
        self._ready.clear()
        self._go.set()
        self.speed, self._replayed_ms = speed, None
        self.ended, self.trouble = False, None
        if speed is None:
            self.meter = Meter()
        self.start()

    def take(self) -> list[tuple[Kind, str]]:
        """Take what is to be drawn in this frame."""
        ready = self._ready
        taken = [ready.popleft() for _ in range(min(FRAME_PIECES, len(ready)))]
        self._drained.set()
        return taken

    @property
    def has_rest(self) -> bool:
        """Whether something waits to be drawn."""
        return bool(self._ready)

    async def _run(self) -> None:
        replaying = self.speed is not None
        began = self._clock()
        try:
            async for chunks in self._feed.tokens(self.ref):
                if replaying:
                    await self._replay(chunks)
                    continue
                await self._go.wait()
                now = self._clock()
                times = [_at_ms(chunk) for chunk in chunks]
                self.meter.add(times, now, live=now - began > CATCH_UP_MS)
                await self._hand_over(chunks)
        except JobNotFoundError:
            self.trouble = "it is gone, and its tokens with it"
        except GlideMQError as error:
            self.trouble = error.message
        self.ended = True

    async def _hand_over(self, chunks: Sequence[StreamChunk]) -> None:
        for chunk in chunks:
            piece = piece_of(chunk)
            if piece is not None:
                self._ready.append(piece)
        if self._ready:
            self._arrived()
        while len(self._ready) > MAX_READY:
            self._drained.clear()
            await self._drained.wait()

    async def _replay(self, chunks: Sequence[StreamChunk]) -> None:
        """Hand chunks over with the pauses they came with."""
        behind, last = 0.0, self._replayed_ms
        for chunk in chunks:
            at = _at_ms(chunk)
            if last is not None:
                behind += min(REPLAY_GAP_MS, max(0, at - last)) / (self.speed or 1.0) / 1_000
            last = at
            if behind >= 0.02:
                slept_from = monotonic()
                await asyncio.sleep(behind)
                behind -= monotonic() - slept_from
            await self._go.wait()
            await self._hand_over((chunk,))
        self._replayed_ms = last
