"""What stands round every screen: header, tabs, key bar, and the words of the connection."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import Any

from ..actions.base import EVERYWHERE, Action, Context
from ..model.decisions import Pending, name_of
from ..model.snapshot import Link, LinkState, Snapshot
from ..text import format as fmt
from ..text.safe import cell_fit, short
from ..text.shown_keys import key_of
from ..text.wrap import wrapped
from ..widgets.styled import Parts, Styled, dim, hotkey, width_of
from .registry import ACTIONS, in_scope
from .table import SCREENS

#: Entries of the key bar until the first answer came.
_BEFORE_DATA = (("refresh", "try now"), ("quit", "quit"), ("help", "help"))


def dot() -> Styled:
    return dim(" · ")


def link_words(link: Link, now_ms: int, rtt_ms: float | None) -> Styled:
    """Say how the connection stands, in few words."""
    if link.state is LinkState.LIVE:
        rtt = "" if rtt_ms is None else f" {rtt_ms:.1f}ms" if rtt_ms < 10 else f" {rtt_ms:.0f}ms"
        return Styled(f"live{rtt}", "success")
    if link.state is LinkState.STALE:
        return Styled(f"stale {fmt.age(link.since_ms, now_ms)}", "warning", "bold")
    if link.state is LinkState.LOST:
        return Styled(f"lost, {retry_words(link, now_ms)}", "error", "bold")
    return Styled("connecting …", "warning")


def retry_words(link: Link, now_ms: int) -> str:
    """`retry in 4s`, or `retrying`."""
    if link.retry_at_ms is None or link.retry_at_ms <= now_ms:
        return "retrying"
    return f"retry in {fmt.countdown(link.retry_at_ms, now_ms)}"


def header(
    snapshot: Snapshot,
    *,
    label: str | None,
    is_prod: bool = False,
    user: str,
    now_ms: int,
    zone: tzinfo | None,
    width: int,
) -> tuple[Parts, Parts]:
    """The first row of truth: server, mode, connection, who, when."""
    right = _header_right(user, now_ms, zone, width)
    rtt = snapshot.stats.rtt_ms if snapshot.stats is not None else None
    state: list[Styled] = []
    prod = [dot(), Styled("PROD", "error", "bold")] if is_prod else []
    if snapshot.link.is_exposed:
        state += [dot(), Styled("not encrypted", "warning")]
    reason = snapshot.why_not_write() if snapshot.link.state is LinkState.LIVE else None
    if snapshot.read_only or reason is not None:
        state += [dot(), Styled("read-only", "warning")]
    state += [dot(), link_words(snapshot.link, now_ms, rtt)]
    # How the connection stands is read before all else: the name is cut for it, the version left out.
    room = width - 3 - width_of([Styled("glidemq  "), *prod, *state, *right])
    name = server_name(label, snapshot)
    left = [hotkey("glidemq"), Styled("  "), Styled(cell_fit(name, max(8, room)), "", "bold"), *prod]
    if snapshot.server is not None:
        mode = f" {snapshot.server.mode} {snapshot.server.nodes}" if snapshot.server.nodes > 1 else ""
        version = f"valkey {short(snapshot.server.version, 20)}{mode}"
        if width_of([Styled(name), dot(), Styled(version)]) <= room:
            left += [dot(), dim(version)]
    return [*left, *state], right


def _header_right(user: str, now_ms: int, zone: tzinfo | None, width: int) -> list[Styled]:
    """Who, and when."""
    right: list[Styled] = []
    if width >= 100:
        right += [dim(short(user, 30)), dot()]
    right += [dim(fmt.clock(now_ms, zone))]
    return [*right, Styled(" ")]


def server_name(label: str | None, snapshot: Snapshot) -> str:
    """What the server that is shown is called: its profile, else its address; safe to draw."""
    return short(label or _address(snapshot.link.address), 60)


def _address(url: str) -> str:
    """What is left of a URL when a person names the server."""
    if url == "embedded:":
        return "embedded"
    return url.partition("://")[2].partition("?")[0].rpartition("@")[2].rstrip("/") or url


def tabs(current: str) -> list[tuple[str, Parts, Parts]]:
    """Tabs of (key, parts, short parts): number and name; the short form is the number alone."""
    shown: list[tuple[str, Parts, Parts]] = []
    for key, name in ((spec.key, spec.name) for spec in SCREENS if spec.key.isdigit()):
        token = "focus" if name == current else "dim"
        shown.append((name, [Styled(key, "focus"), Styled(f" {name}", token)], [Styled(key, "focus")]))
    return shown


def key_entries(scope: str, context: Context) -> list[tuple[str, Parts]]:
    """What can be done here, for the key bar; what cannot is grey. Help comes last, so that it always fits."""
    actions: Sequence[Action[Any]] = [*in_scope(scope), *in_scope(EVERYWHERE)]
    entries: list[tuple[str, Parts]] = []
    keymap = context.console.keymap
    if not context.page.is_ready(context.snapshot):
        # Nothing to work on yet: what helps now, and nothing grey beside it.
        return [
            (name, [hotkey(keymap.texts(ACTIONS[name])[0]), Styled(f" {title}", "foreground")])
            for name, title in _BEFORE_DATA
        ]
    # What never works on a screen is not for its key bar; going back is for pages that lie over another screen.
    never = {"filter"} if not context.page.filters() else set()
    never |= set() if context.page.IS_PAGE else {"close"}
    # Where decisions are made its place is kept; elsewhere it comes with what can be taken back.
    never |= set() if scope == "approvals" or ACTIONS["undo"].unavailable(context) is None else {"undo"}
    shown = (action for action in actions if action.footer is not None and action.id not in never)
    for action in sorted(shown, key=lambda action: action.footer or 0):
        possible = action.unavailable(context) is None
        key = Styled(keymap.texts(action)[0], "focus" if possible else "dim", "bold" if possible else "")
        title = Styled(
            f" {context.page.title_of(action.id) or action.title}", "foreground" if possible else "dim"
        )
        entries.append((action.id, [key, title]))
    return entries


def held_parts(undoable: Sequence[Pending], held: int, now_ms: int) -> Parts:
    """What is about to be sent, when, and the key that stops it.

    Args:
        undoable: What the key takes back; nothing gives no parts.
        held: How many decisions are held back, with those.
    """
    if not undoable:
        return []
    doing = "approving" if undoable[0].verb == "approve" else "rejecting"
    what = name_of(undoable[0].ref) if len(undoable) == 1 else fmt.plural(len(undoable), "job")
    due = fmt.countdown(min(pending.due_ms for pending in undoable), now_ms)
    rest = f" and {held - len(undoable)} more" if held > len(undoable) else ""
    return [
        Styled(f"{doing} {what} in {due}{rest}", "warning"),
        hotkey(f"  {key_of('undo', 'z')}"),
        Styled(" undo"),
    ]


def cost_parts(snapshot: Snapshot) -> Parts:
    """What this console costs the server."""
    if snapshot.stats is None or snapshot.link.state is LinkState.LOST:
        return []
    return [dim(f"{snapshot.stats.commands_per_s:.1f} cmd/s ")]


def reason_lines(reason: str, width: int) -> list[Parts]:
    """Why a server cannot be reached, on a terminal of so many cells."""
    lines = wrapped(short(reason, 1_000), max(20, width - 18))
    leads = ("reason   ", *(" " * 9 for _ in lines))
    return [[dim(lead), Styled(line)] for lead, line in zip(leads, lines, strict=False)]
