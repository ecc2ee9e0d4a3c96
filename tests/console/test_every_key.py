"""Every key of the table on every screen in every situation: nothing breaks, and nothing changes unasked or unseen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

import pytest
from textual.pilot import Pilot
from textual.screen import ModalScreen

from glidemq_console.actions import keys
from glidemq_console.actions.base import EVERYWHERE, Danger
from glidemq_console.app import ConsoleApp
from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.model.snapshot import Interests, Snapshot
from glidemq_console.screens.frame import ConsoleScreen
from glidemq_console.screens.registry import ACTIONS
from glidemq_console.screens.table import SCREENS

from .fixed import FAILED, LIVE, LOST, QUEUES, ROWS, config, script
from .fixed_ai import FIRST, RUNNING, STREAMS, WAITING, inbox
from .fixed_events import EVENTS
from .fixed_everywhere import ELSEWHERE
from .fixed_failures import FAILURES, LETTERS
from .fixed_flows import LISTED, flows_script
from .fixed_schedules import SCHEDULES
from .fixed_workers import SERVING
from .test_cost_snapshots import WHY
from .test_cost_snapshots import known as spent

pytestmark = pytest.mark.thorough

#: Keys that end the console, leave the screen for good, or wait for a program outside.
LEAVING = {"q", "ctrl+q", *(spec.key for spec in SCREENS)}
MOVING = (
    "up",
    "down",
    "shift+up",
    "shift+down",
    "home",
    "end",
    "pageup",
    "pagedown",
    "ctrl+u",
    "ctrl+d",
    "j",
    "k",
    "g",
    "G",
)
PRESSED = [key for meaning in keys.TABLE for key in meaning.keys if key not in LEAVING] + [*MOVING]
#: Scopes of the actions of screens that are not called so.
SCOPES = {"letters": "deadletters", "inboxes": "approvals"}
#: Other servers to which nothing is sent while a test runs, and what waits there.
FAR_SERVERS = replace(ELSEWHERE, servers=tuple(replace(one, undo_ms=600_000) for one in ELSEWHERE.servers))
FAR = [one for server in ELSEWHERE.servers for one in server.items]
#: Snapshot, and how many rows of each list there are; None for all.
SITUATIONS: dict[str, tuple[Snapshot, int | None]] = {
    "empty": (replace(LIVE, queues=(), history={}), 0),
    "one row": (replace(LIVE, queues=QUEUES[:1]), 1),
    "many": (LIVE, None),
    "read-only": (replace(LIVE, read_only=True), None),
    "lost": (LOST, None),
}


def _answer(base: Snapshot, most: int | None) -> Callable[[Interests], Snapshot]:
    """What a server with so many of each thing would answer."""

    def answer(wants: Interests) -> Snapshot:
        known = script(base, job=FAILED, rows=ROWS[:most])(wants)
        flows = flows_script(LISTED[:most])(wants) if wants.flows or wants.flow else known
        by_ref = {one.ref: one for one in RUNNING[:most]}
        return replace(
            known,
            flows=flows.flows,
            flow=flows.flow,
            inbox=inbox(WAITING[:most]) if wants.inbox else None,
            # Whoever may only read here may decide there.
            elsewhere=FAR_SERVERS if wants.everywhere and base is LIVE else None,
            streams={ref: by_ref.get(ref) for ref in wants.streams},
            running=tuple(one for ref, one in by_ref.items() if ref not in wants.streams)
            if wants.pick
            else (),
            failures=FAILURES if wants.failures is not None and most is None else None,
            letters=LETTERS if wants.letters and most is None else None,
            schedules=SCHEDULES if wants.schedules and most is None else None,
            events=EVENTS if wants.events and most is None else None,
            cost=spent(wants).cost if wants.cost is not None and most is None else None,
            serving={name: known for name, known in SERVING.items() if most is None},
        )

    return answer


def _feed(base: Snapshot, most: int | None) -> ScriptedFeed:
    return ScriptedFeed(
        _answer(base, most),
        whys=defaultdict(lambda: WHY),
        chunks=STREAMS,
        reviews={one.ref: one for one in (*WAITING, *FAR)},
        cuts={FIRST.ref: FIRST},
    )


def _changes(feed: ScriptedFeed) -> list[tuple[str, str]]:
    """What was changed, as (queue, method); the preview of a top-up changes nothing, and its dialog is only left."""
    return [(queue, method) for queue, method, _ in feed.changes if method != "top_up_budget"]


def _keys_of(scope: str, *, with_all: bool) -> list[str]:
    """Keys that mean something there, or all."""
    scopes = (SCOPES.get(scope, scope), EVERYWHERE)
    there = {key for one in ACTIONS.values() if one.scope in scopes for key in one.keys}
    return [key for key in PRESSED if with_all or key in there]


async def _settled(pilot: Pilot[int]) -> None:
    for _ in range(2):
        await pilot.pause()


async def _stand_on(pilot: Pilot[int], app: ConsoleApp, scope: str) -> bool:
    """Come to a screen with nothing over it; False where there is nothing to open."""
    while isinstance(app.screen, ModalScreen):
        await pilot.press("escape")
        await _settled(pilot)
    tab = {"job": "jobs", "flow": "flows"}.get(scope, scope)
    if _is_on(app, scope, tab):
        return True
    app.go(tab)
    await _settled(pilot)
    if scope != tab:
        await pilot.press("enter")
        await _settled(pilot)
    return _is_on(app, scope, tab)


def _is_on(app: ConsoleApp, scope: str, tab: str) -> bool:
    screen = app.console_screen
    return screen is not None and SCOPES.get(scope, scope) == screen.SCOPE and tab == app.current_mode


def _may_change(scope: str, key: str) -> bool:
    """Whether the table lets a key change something there without a dialog: one press takes it back, or it does so."""
    return key in keys.UNDO.keys or any(
        key in action.keys and action.danger is not Danger.NONE and not action.opens_dialog
        for action in ACTIONS.values()
        if action.scope in (SCOPES.get(scope, scope), EVERYWHERE)
    )


@pytest.mark.parametrize("scope", [*(spec.name for spec in SCREENS), "job", "flow"])
@pytest.mark.parametrize("situation", SITUATIONS)
async def test_every_key_on_every_screen(situation: str, scope: str, monkeypatch: pytest.MonkeyPatch) -> None:
    base, most = SITUATIONS[situation]
    feed = _feed(base, most)
    app = ConsoleApp(config(feed, undo_ms=600_000))
    defects: list[str] = []
    monkeypatch.setattr(
        ConsoleApp, "report_defect", lambda _self, error, doing: defects.append(f"{doing}: {error!r}")
    )
    async with app.run_test(size=(120, 34)) as pilot:
        await _settled(pilot)
        for key in _keys_of(scope, with_all=situation == "many"):
            if not await _stand_on(pilot, app, scope):
                continue
            screen = app.console_screen
            assert isinstance(screen, ConsoleScreen)
            before, said = len(_changes(feed)), screen.message
            await pilot.press(key)
            await _settled(pilot)

            assert defects == [], (scope, key)
            assert app.is_running, (scope, key)
            if len(_changes(feed)) > before:
                # A change without a question is one that the same key takes back, and it is told.
                assert _may_change(scope, key), (scope, key, _changes(feed)[before:])
                assert app.console_screen is not None
                assert app.console_screen.message not in (None, said), (scope, key)
                assert situation not in ("read-only", "lost", "empty"), (scope, key)
        if situation in ("read-only", "lost", "empty"):
            assert _changes(feed) == []
            assert app.outbox.unsent == ()
        # What was decided is held back, and shown: nothing of it was sent.
        assert not {method for _, method in _changes(feed)} & {"approve", "reject"}
