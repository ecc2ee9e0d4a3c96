"""`tail`: the tokens of one job, as they come, until it ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from typer import BadParameter, Option

from ... import options
from ...broken_pipe import reader_gone
from ...errors import Exit
from ...options import option
from ...program import OWN, command, require
from ...session import Session
from ...tail.narrator import Narrator
from ...tail.printer import KINDS, ChunkPrinter, JsonPrinter, RawPrinter, SafePrinter

if TYPE_CHECKING:
    from glidemq_core.ai.streams.tail import Tail
    from glidemq_core.options.job import JobRef


def _kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(word.strip() for word in text.split(","))
    for kind in kinds:
        if kind not in KINDS:
            raise BadParameter(f"'{kind}' is no kind of chunk: use {', '.join(KINDS)}")
    return kinds


@command("tail", limit=OWN)
async def tail(
    session: Session,
    name: options.Job,
    queue: options.JobQueue = None,
    start: Annotated[
        str, option("--from", "start|now|ID", "Where to begin; an entry id is exclusive.")
    ] = "start",
    follow: Annotated[
        bool, Option("--follow/--no-follow", help="Follow to the end of the job, or print what is there.")
    ] = True,
    show: Annotated[
        str | None, option("--show", "KIND,...", f"Kinds of chunk: {', '.join(KINDS)}.", _kinds)
    ] = None,
    raw: Annotated[bool, Option("--raw", help="Bytes as they are, even to a terminal.")] = False,
    safe: Annotated[bool, Option("--safe", help="Made safe for a terminal, even to a pipe.")] = False,
) -> int:
    """Print a job's tokens live, from its beginning, and end with the job."""
    require(not (raw and safe), "--raw and --safe exclude each other")
    kinds: tuple[str, ...] = show or (KINDS if session.out.stdout_is_tty else ("content",))  # type: ignore[assignment]  # parsed above
    printer = _printer(session, kinds, raw=raw, safe=safe)
    limit_ms = session.given.timeout
    follower = _Follower(session, printer, follow=follow)

    from glidemq_core.ai.streams.chunks import check_entry_id

    require(
        start in ("start", "now") or start[:1].isdigit(), f"--from '{start}': say start, now or an entry id"
    )
    after = check_entry_id({"start": "0", "now": "$"}.get(start, start), "--from", newest=True)

    try:
        async with asyncio.timeout(None if limit_ms is None else limit_ms / 1_000) as bound, reader_gone():
            return await follower.run(await session.job_ref(name, queue), after)
    except TimeoutError:
        if not bound.expired():
            raise
        await follower.give_up(limit_ms or 0)
        return Exit.REFUSED


def _printer(session: Session, kinds: tuple[str, ...], *, raw: bool, safe: bool) -> ChunkPrinter:
    out = session.out
    if session.json:
        return JsonPrinter(out)
    if raw or not (safe or out.stdout_is_tty):
        return RawPrinter(out, kinds)
    return SafePrinter(out, kinds)


class _Follower:
    """Print one stream while a narrator reports what happens to the job."""

    def __init__(self, session: Session, printer: ChunkPrinter, *, follow: bool) -> None:
        self._session = session
        self._printer = printer
        self._follow = follow
        self._narrator: Narrator | None = None

    async def run(self, ref: JobRef, start: str) -> int:
        from glidemq_core.ai.streams.hub import StreamHub

        source = await self._session.queue(ref.queue)
        context = await source.context()
        self._narrator = Narrator(self._session, await self._session.watch(), ref, self._printer)
        async with StreamHub.of(context.connection).follow(
            context, ref.id, start=start, follow=self._follow
        ) as stream:
            if not self._follow:
                await self._narrator.look()
                await self._print(stream)
                self._printer.end()
                return Exit.DONE
            async with self._narrator:
                await self._print(stream)
        self._printer.end()
        completed = await self._narrator.told_end()
        return Exit.DONE if completed else Exit.REFUSED

    async def _print(self, stream: Tail) -> None:
        page = asyncio.create_task(stream.read())
        try:
            while chunks := await page:
                page = asyncio.create_task(stream.read())
                await asyncio.sleep(0)  # the next page is on its way while this one is written
                self._printer.write(chunks)
        finally:
            page.cancel()

    async def give_up(self, limit_ms: int) -> None:
        """Say that the time is up; the job goes on."""
        self._printer.end()
        if self._narrator is not None:
            self._narrator.gave_up(limit_ms)
        elif not self._session.json:
            self._session.out.note(f"gave up after {limit_ms / 1_000:g} s")
