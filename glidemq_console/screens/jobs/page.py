"""One job: what happened to it, what it was given, what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widget import Widget

from ...actions.jobs.control import GONE, JobPageContext
from ...model.snapshot import Interests, JobView, Snapshot
from ...saving.exports import SavedOne
from ...saving.payloads import without_payloads
from ...text import format as fmt
from ...text.safe import mask, short
from ...text.shown_keys import key_of
from ...widgets.finding.places import Searched
from ...widgets.finding.story import StoryView
from ...widgets.payload.payload_view import PayloadCard
from ...widgets.status_line import PartsView, Rule, StatusLine
from ...widgets.styled import Parts, Styled, dim
from ..finding import FindingScreen
from ..lists.saving import PAYLOAD_LIMIT
from ..page_screen import PageScreen
from ..registry import bindings
from . import page_text as say

if TYPE_CHECKING:
    from glidemq_core.records import JobDetail, JobRef

#: Bytes of payload that are read as the whole of it.
WHOLE_PAYLOAD = 1 << 20


class JobScreen(PageScreen, FindingScreen):
    """The page of one job."""

    SCOPE = "job"
    BINDINGS = bindings(SCOPE)
    TAB, PAGE = "jobs", "job"
    # The payload stands beside the story.
    BREAKPOINTS: ClassVar = {"-wide": (100, 0)}
    DEFAULT_CSS: ClassVar[str] = """
    JobScreen #job-panes { height: 1fr; layout: vertical; }
    JobScreen.-wide #job-panes { layout: horizontal; }
    JobScreen #job-story { width: 1fr; height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    JobScreen #job-values { width: 1fr; height: 1fr; }
    JobScreen PayloadCard { height: 1fr; }
    JobScreen #outcome-title, JobScreen #outcome { display: none; }
    JobScreen.-outcome #outcome-title, JobScreen.-outcome #outcome { display: block; }
    JobScreen #outcome { height: auto; max-height: 50%; }
    JobScreen.-wide #outcome { max-height: 70%; }
    """

    def __init__(self, ref: JobRef) -> None:
        super().__init__(ref)
        self._whole: JobDetail | None = None

    def body(self) -> ComposeResult:
        yield StatusLine(id="job-head")
        yield Rule("story", id="job-rule")
        with Horizontal(id="job-panes"):
            with VerticalScroll(id="job-story"):
                yield StoryView(id="story")
            with Vertical(id="job-values"):
                yield Rule("payload", id="payload-title")
                yield PayloadCard(id="payload")
                yield Rule("result", id="outcome-title")
                yield PayloadCard(id="outcome")

    # --- what the frame calls ---

    @property
    def view(self) -> JobView | None:
        view = self.snapshot.job
        return view if view is not None and view.ref == self.ref else None

    @property
    def detail(self) -> JobDetail | None:
        """The job itself; with its whole payload once that was read."""
        view = self.view
        if view is None or view.detail is None:
            return None
        if self._whole is not None and view.detail.truncated:
            return replace(view.detail, data=self._whole.data, truncated=self._whole.truncated)
        return view.detail

    @property
    def payload(self) -> PayloadCard:
        return self.query_one("#payload", PayloadCard)

    @property
    def outcome(self) -> PayloadCard:
        return self.query_one("#outcome", PayloadCard)

    def crumb(self) -> str:
        return short(self.ref.id, 40)

    def main_widget(self) -> Widget:
        return self.finder.reader or self.payload

    def interests(self) -> Interests:
        return Interests(job=self.ref)

    def status(self, snapshot: Snapshot) -> Parts:
        return self.found_parts()

    def title_of(self, action_id: str) -> str | None:
        return "find" if action_id == "filter" else super().title_of(action_id)

    def leave(self) -> bool:
        return self.end_search()

    # --- finding ---

    def searched(self) -> Sequence[Searched]:
        return self.payload, self.outcome, self.query_one("#story", StoryView)

    @property
    def filter_text(self) -> str:
        return self.finder.text

    def set_filter(self, text: str) -> None:
        self.find(text)

    def context(self) -> JobPageContext:
        detail, view = self.detail, self.view
        state = detail.state if detail is not None else None if view is None else GONE
        context = JobPageContext(console=self.console, page=self, snapshot=self.snapshot, row=detail)
        return replace(context, queue=self.ref.queue, job=self.ref, job_state=state)

    # --- drawing ---

    def draw(self, snapshot: Snapshot) -> None:
        now, head = self.console.now_ms(), self.query_one("#job-head", StatusLine)
        detail, view = self.detail, self.view
        if detail is None:
            name = short(str(self.ref))
            words = "reading …" if view is None else "is gone: removed, or it left when it was done"
            head.show([Styled(name, "", "bold"), Styled(f"   {words}", "dim" if view is None else "warning")])
            if view is not None:
                self.query_one("#story", PartsView).show([[dim("esc goes back to the list")]])
                title = "payload, as last seen" if self.payload.has_value else "payload"
                self.query_one("#payload-title", Rule).show(title)
                self._draw_titles()
            return
        head.show(*say.headline(detail, now), is_left_first=True)
        self.query_one("#story", PartsView).show(
            say.story(detail, now, self.console.config.zone, reveal=self.payload.revealed)
        )
        self._draw_payload(detail)
        self._draw_outcome(detail)
        self._draw_titles()
        self.look_again()

    def _draw_titles(self) -> None:
        """The title of the pane that keys work on carries the accent."""
        for rule, pane in (
            ("#job-rule", self.query_one("#job-story")),
            ("#payload-title", self.payload),
            ("#outcome-title", self.outcome),
        ):
            self.query_one(rule, Rule).light(pane.has_focus)

    @property
    def is_cut(self) -> bool:
        """Whether the payload was too long to be read with the rest."""
        return self.detail is not None and self.detail.truncated

    def turned(self) -> None:
        self._whole = None
        for card in (self.payload, self.outcome):
            card.show_note("reading …")
        self.query_one("#story", PartsView).show([])

    def _draw_payload(self, job: JobDetail) -> None:
        self.payload.opens_whole = False
        words = fmt.byte_size(job.data_bytes)
        if job.truncated:
            self.payload.opens_whole = True
            self.payload.show_note("too long to read at once; enter reads it")
        elif job.data_error is not None:
            self.payload.show_note(f"cannot be decoded: {short(job.data_error, 200)}", "warning")
        else:
            self.payload.show(job.data)
        if self.payload.masked_count:
            hint = "shown" if self.payload.revealed else "masked"
            words += f" · {fmt.plural(self.payload.masked_count, 'secret')} {hint}"
        self.query_one("#payload-title", Rule).show(f"payload {words}", lit=self.payload.has_focus)

    def _draw_outcome(self, job: JobDetail) -> None:
        """Result, progress and signals: whatever there is, under one title."""
        parts: dict[str, Any] = {}
        if job.result is not None:
            parts["result"] = job.result
        if job.progress not in (0, None):
            parts["progress"] = job.progress
        if job.signals:
            parts["signals"] = [{"name": signal.name, "data": signal.data} for signal in job.signals]
        self.set_class(bool(parts), "-outcome")
        title = ", ".join(parts) or "result"
        self.query_one("#outcome-title", Rule).show(title, lit=self.outcome.has_focus)
        if list(parts) == ["result"]:
            self.outcome.show(job.result)
        elif parts:
            self.outcome.show(parts)
        else:
            self.outcome.show_note(fmt.UNKNOWN)

    # --- events and actions ---

    def on_descendant_focus(self) -> None:
        self._draw_titles()

    def on_descendant_blur(self) -> None:
        self._draw_titles()

    def on_payload_card_revealed(self) -> None:
        self.show(self.snapshot)

    def toggle_raw(self) -> str:
        for card in (self.payload, self.outcome):
            card.raw = not card.raw
        self.look_again()
        return "as JSON" if self.payload.raw else "laid out"

    def toggle_reveal(self) -> str:
        if not (self.payload.masked_count or self.outcome.masked_count):
            return "nothing is masked here"
        shown = not self.payload.revealed
        self.payload.revealed = self.outcome.revealed = shown
        return f"secrets revealed; {key_of('job.reveal', 'v')} masks them" if shown else "secrets masked"

    async def load_whole(self) -> str:
        detail = self.detail
        if detail is None or not detail.truncated:
            return "the payload is all here"
        self._whole = await self.console.feed.job(self.ref, payload_limit=WHOLE_PAYLOAD)
        self.show(self.snapshot)
        return f"payload read, {fmt.byte_size(detail.data_bytes)}"

    def saves(self, *, payload: bool) -> SavedOne | None:
        if self.detail is None:
            return None
        return SavedOne(name=str(self.ref), read=partial(self._whole_job, payload, self.payload.revealed))

    async def _whole_job(self, payload: bool, reveal: bool) -> object:
        from glidemq_core.records.base import to_json

        job = to_json(await self.console.feed.job(self.ref, payload_limit=PAYLOAD_LIMIT if payload else 0))
        return mask(job if payload else without_payloads(job), reveal)[0]

    def copies(self, *, other: bool) -> tuple[str, str] | None:
        card = self.outcome if self.outcome.has_focus else self.payload
        if other:
            return (card.path, "path") if card.path else None
        if self.detail is None or not card.has_value:
            return None
        return card.text, "payload" if card is self.payload else "result"
