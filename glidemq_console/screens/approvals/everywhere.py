"""Jobs that wait for a person on the servers of all profiles, each row with its server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from glidemq_core.records import Inbox

from ...actions.approvals.decisions import ApprovalContext
from ...feed.elsewhere import EVERY_MS
from ...model.decisions import server_of
from ...model.lists.elsewhere import FarServer, Placing
from ...model.snapshot import Interests, Link, LinkState, Snapshot, settle_link
from ...text import format as fmt
from ...text.safe import short
from ...text.shown_keys import key_of
from ...widgets.lists.columns import Heading, Row
from ...widgets.styled import Parts, Styled, dim, parts_of
from ..frame_text import retry_words, server_name
from .columns import COLUMNS_EVERYWHERE, ApprovalLine, Of, saved
from .screen import ApprovalsScreen

if TYPE_CHECKING:
    from glidemq_core import JobRef
    from glidemq_core.records import Approval


class EverywhereScreen(ApprovalsScreen):
    """Every suspended job of every profile's server; one that fails has a row of its own above the jobs.

    A decision goes to the server of its job. Pages and links show jobs of the console's own server only.
    """

    ALL: ClassVar[Sequence[Of]] = COLUMNS_EVERYWHERE
    COLUMNS: ClassVar[Sequence[Of]] = saved(COLUMNS_EVERYWHERE)
    DEFAULT_CSS: ClassVar[str] = """
    EverywhereScreen.-no-card #review { visibility: hidden; }
    """

    def __init__(self) -> None:
        super().__init__()
        #: What the list was put together from last, and the whole.
        self._parts: tuple[Inbox, ...] = ()
        self._whole: Inbox | None = None
        self._note_keys: list[Heading] = []

    # --- the servers ---------------------------------------------------------------------------------------

    @property
    def servers(self) -> Sequence[FarServer]:
        """The servers of the other profiles as they stand now, whatever is held still."""
        elsewhere = self.console.snapshot.elsewhere
        return () if elsewhere is None else elsewhere.servers

    def _server(self, name: str | None) -> FarServer | None:
        return next((server for server in self.servers if server.name == name), None)

    @property
    def _here(self) -> str:
        """What this console's own server is called."""
        return server_name(self.console.config.label, self.console.snapshot)

    def _link_to(self, name: str | None) -> Link | None:
        """How the console stands to a server, None for its own; None where its profile cannot be used."""
        if name is None:
            return self.console.snapshot.link
        far = self._server(name)
        if far is None or far.known is None:
            return None
        return settle_link(far.known.link, self.console.now_ms(), EVERY_MS)

    def _is_live(self, name: str | None) -> bool:
        link = self._link_to(name)
        return link is not None and link.state is LinkState.LIVE

    # --- what the frame calls ------------------------------------------------------------------------------

    def interests(self) -> Interests:
        return replace(super().interests(), everywhere=True)

    def is_ready(self, snapshot: Snapshot) -> bool:
        far = snapshot.elsewhere.servers if snapshot.elsewhere is not None else ()
        return snapshot.has_data or any(one.known is not None and one.known.has_data for one in far)

    def context(self) -> ApprovalContext:
        context = super().context()
        if context.shown is None or server_of(context.shown.ref) is None:
            return context
        # What acts on a job of this server must not find the name of another server's job.
        return replace(context, queue=None, job=None, job_state=None)

    def crumb(self) -> str:
        return "inboxes"

    def step_row(self, step: int) -> JobRef | None:
        """Move to the next job of this server: the page that lies over the list can show no other."""
        start = self.lines.cursor_index
        while True:
            before = self.lines.cursor_index
            ref = super().step_row(step)
            if ref is not None:
                return ref
            if self.lines.cursor_index == before:
                self.lines.move_to(start)
                return None

    # --- whose jobs are listed -----------------------------------------------------------------------------

    @property
    def _names(self) -> list[str | None]:
        """The servers whose jobs are listed, None for the console's own."""
        return [None, *(server.name for server in self.servers)]

    @property
    def _left_out(self) -> Sequence[str]:
        elsewhere = self.console.snapshot.elsewhere
        return () if elsewhere is None else elsewhere.left_out

    @property
    def scope_words(self) -> str:
        names, left_out = self._names, self._left_out
        live = sum(map(self._is_live, names))
        words = fmt.plural(len(names), "server")
        words = words if live == len(names) else f"{live} of {words}"
        return words + (f", {fmt.plural(len(left_out), 'profile')} too many" if left_out else "")

    @property
    def is_old(self) -> bool:
        # Each row by its own server, see `row_for`.
        return False

    def lists(self, ref: JobRef) -> bool:
        far = self._server(server_of(ref))
        if server_of(ref) is None:
            return self.console.snapshot.inbox is not None
        return far is not None and far.inbox is not None

    def user_of(self, ref: JobRef | None) -> str:
        far = self._server(server_of(ref)) if ref is not None else None
        return super().user_of(ref) if far is None else f"{far.user} on {far.name}"

    def why_not_write_on(self, ref: JobRef) -> str | None:
        name = server_of(ref)
        if name is None:
            return super().why_not_write_on(ref)
        far = self._server(name)
        return far.why_not_write() if far is not None else f"{name} is not read any more"

    def why_not_here(self) -> str | None:
        shown = self.shown
        name = server_of(shown.ref) if shown is not None else None
        return None if name is None else f"it is on {name}; :profile {name} shows it"

    def why_nothing(self) -> str:
        key = self.lines.cursor_key
        if isinstance(key, Heading):
            return f"{key.name} cannot be read now; {key_of('refresh', '^r')} tries again"
        return super().why_nothing()

    def inbox_of(self, snapshot: Snapshot) -> Inbox | None:
        """Put the inboxes of all servers together; None while none has been read and none has failed."""
        read = [(snapshot.inbox, snapshot.inbox.items)] if snapshot.inbox is not None else []
        far_servers = snapshot.elsewhere.servers if snapshot.elsewhere is not None else ()
        read += [(far.inbox, far.items) for far in far_servers if far.inbox is not None]
        parts = tuple(inbox for inbox, _ in read)
        if not parts and not self.notes(self.console.now_ms()):
            return None
        is_same = len(parts) == len(self._parts) and all(map(lambda a, b: a is b, parts, self._parts))
        if self._whole is None or not is_same:
            self._parts = parts
            self._whole = Inbox(
                items=tuple(one for _, items in read for one in items),
                total=sum(inbox.total for inbox in parts),
                complete=all(inbox.complete for inbox in parts),
                at=max((inbox.at for inbox in parts), default=datetime.now(UTC)),
            )
        return self._whole

    # --- drawing -------------------------------------------------------------------------------------------

    @property
    def entries(self) -> Sequence[ApprovalLine | Heading]:
        return [*self._note_keys, *self.listed]

    def draw(self, snapshot: Snapshot) -> None:
        self._listed.here = self._here
        super().draw(snapshot)

    def _draw_card(self, now: int) -> None:
        # Beside the row of a server there is no job, and nothing to press.
        self.set_class(isinstance(self.lines.cursor_key, Heading), "-no-card")
        super()._draw_card(now)

    def notes(self, now: int) -> list[Row]:
        found = []
        for name in self._names:
            words = self._trouble_words(name, now)
            if words:
                shown = self._here if name is None else short(name, 60)
                found.append(Row(Heading(shown), {}, words=[Styled(f"{shown} ", "", "bold"), *words]))
        self._note_keys = [row.key for row in found if isinstance(row.key, Heading)]
        return found

    def _trouble_words(self, name: str | None, now: int) -> Parts:
        """Say what is wrong with a server; empty while it is read."""
        far, link = self._server(name), self._link_to(name)
        if link is None:
            reason = far.problem if far is not None else None
            return [Styled("cannot be used", "error", "bold"), dim(f"  {short(reason, 300)}")]
        known = far.known if far is not None else self.console.snapshot
        if link.state is LinkState.LOST:
            lost = Styled(f"lost, {retry_words(link, now)}", "error", "bold")
            return [lost, dim(f"  {short(link.reason, 300)}")]
        if link.state is LinkState.STALE:
            return [Styled(f"no answer for {fmt.age(link.since_ms, now)}", "warning", "bold")]
        if known is not None and known.has_data and known.inbox is None and known.trouble is not None:
            return [Styled(short(known.trouble, 300), "warning")]
        return []

    def line_of(self, one: Approval) -> ApprovalLine:
        far = self._server(server_of(one.ref))
        name, is_prod = (self._here, self.console.config.is_prod) if far is None else (far.name, far.is_prod)
        return super().line_of(one)._replace(server=short(name, 60), is_prod=is_prod)

    def row_for(self, item: ApprovalLine, now_ms: int) -> Row:
        row = super().row_for(item, now_ms)
        if self._is_live(server_of(item.one.ref)):
            return row
        return replace(
            row,
            cells={key: [dim(part.text) for part in parts_of(cell)] for key, cell in row.cells.items()},
        )

    def head_of(self, card: Approval, now: int) -> list[Parts]:
        line = self.line_of(card)
        prod = [dim(" · "), Styled("PROD", "error", "bold")] if line.is_prod else []
        where = [dim("on "), Styled(line.server, "", "bold"), *prod]
        return [where, *super().head_of(card, now)]

    # --- what a file takes ---------------------------------------------------------------------------------

    def record_of(self, item: ApprovalLine) -> Approval:
        # Each with its server, those of this one too.
        return item.one if server_of(item.one.ref) is not None else Placing(self._here).one(item.one)

    def narrowed(self) -> Mapping[str, str]:
        return {**super().narrowed(), "servers": self.scope_words}

    def lacks(self) -> str | None:
        is_whole = all(map(self._is_live, self._names)) and not self._left_out
        return super().lacks() if is_whole else f"the list holds the jobs of {self.scope_words}"
