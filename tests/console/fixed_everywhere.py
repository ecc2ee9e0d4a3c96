"""Fixed data of several servers: what waits on each, one that is a PROD server, one that is lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.model.lists.elsewhere import Elsewhere, FarServer, Placing
from glidemq_console.model.snapshot import Link, LinkState, Snapshot
from glidemq_core.records import Approval

from . import fixed_ai
from .fixed import LIVE, NOW_MS
from .fixed_ai import approval, inbox

#: The same id as one that waits here.
ABROAD = (
    approval("48207", "moderation", "moderate", 0.002, timedelta(minutes=6), reason="flagged by two readers"),
    approval("77", "deploy", "roll_out", 0.0, timedelta(minutes=40), reason="touches 12 services"),
)
STAGING = (approval("5", "agent", "run_shell", 0.011, None, reason="wants to run a command"),)
LAST_SEEN = (approval("31", "refund", "over_limit", 0.02, timedelta(minutes=9), reason="over 500"),)


def server(
    name: str, waiting: tuple[Approval, ...], *, is_lost: bool = False, is_prod: bool = False
) -> FarServer:
    """A server with what waits there."""
    link = Link(state=LinkState.LIVE, since_ms=NOW_MS, address="valkey://far.example:6379")
    if is_lost:
        link = replace(
            link,
            state=LinkState.LOST,
            since_ms=NOW_MS - 12_000,
            retry_at_ms=NOW_MS + 4_000,
            reason="connection refused (far.example:6379)",
        )
    known = Snapshot(at_ms=NOW_MS, link=link, has_data=True, inbox=inbox(waiting))
    return FarServer(
        name=name, user="carol", undo_ms=5_000, is_prod=is_prod, known=known, items=Placing(name).all(waiting)
    )


ELSEWHERE = Elsewhere(
    servers=(
        server("prod-us", ABROAD, is_prod=True),
        server("staging", STAGING),
        server("lab", LAST_SEEN, is_lost=True),
        FarServer(name="old", problem="the URL of profile old: 'http://x' has no scheme that is known"),
    )
)


def feed(known: Elsewhere = ELSEWHERE, base: Snapshot = LIVE) -> ScriptedFeed:
    """What waits here, and on the other servers while they are listed."""
    far = [one for there in known.servers for one in there.items]
    made = fixed_ai.feed(base=base)
    here = made.script
    return replace(
        made,
        script=lambda wants: replace(here(wants), elsewhere=known if wants.everywhere else None),
        reviews={**made.reviews, **{one.ref: one for one in far}},
    )
