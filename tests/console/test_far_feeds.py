"""The readers of other servers: a defect in one is told of it alone, and what has not changed stays the same object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually

from glidemq_console.config.console import ConsoleConfig
from glidemq_console.config.settings import Given
from glidemq_console.config.source import FileSource
from glidemq_console.feed.elsewhere import FarFeeds
from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.model.held import with_lists_of
from glidemq_console.model.lists.elsewhere import Elsewhere, FarRef, Placing
from glidemq_console.model.snapshot import Interests, LinkState, Snapshot
from glidemq_core import JobRef
from glidemq_core.errors import ServerUnavailableError

from .fixed import LIVE
from .fixed_ai import WAITING, inbox
from .fixed_everywhere import ELSEWHERE, STAGING, server

KNOWN = Snapshot(has_data=True, inbox=inbox(STAGING))


class Defect(ScriptedFeed):
    """A feed with a defect of its own."""

    async def run(self, publish: Callable[[Snapshot], None]) -> None:
        raise ZeroDivisionError("odd")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ConsoleConfig:
    path = tmp_path / "config.toml"
    monkeypatch.setenv("GLIDEMQ_CONFIG", str(path))
    names = ("here", "good", "bad")
    path.write_text("".join(f'[profiles.{name}]\nurl = "valkey://{name}:1"\n' for name in names))
    return FileSource(given=Given(profile="here")).config()


def known_of(feeds: FarFeeds) -> Elsewhere:
    known = feeds.known
    assert known is not None
    return known


async def test_a_defect_in_one_reader_is_told_of_that_server_alone(here: ConsoleConfig) -> None:
    def make(config: ConsoleConfig) -> Any:
        return (Defect if "bad" in config.url else ScriptedFeed)(lambda _wants: KNOWN)

    feeds = FarFeeds(here, make, lambda: None)
    assert feeds.known is None
    feeds.want(Interests(everywhere=True))
    await eventually(lambda: [one.name for one in known_of(feeds).servers] == ["good", "bad"])
    await eventually(lambda: known_of(feeds).servers[1].problem is not None)
    good, bad = known_of(feeds).servers
    assert "ZeroDivisionError" in (bad.problem or "")
    assert bad.why_not_write() is not None
    assert good.problem is None
    assert [one.ref for one in good.items] == [FarRef("agent", "5", "good")]

    # Only what decisions are still to be sent to stays open, and it can be asked.
    feeds.want(Interests(deciding=frozenset({"good"})))
    assert feeds.known is None
    feeds.of("good")
    with pytest.raises(ServerUnavailableError, match="bad is not read any more"):
        feeds.of("bad")
    await feeds.close()
    feeds.want(Interests(everywhere=True))
    assert feeds.known is None


def test_jobs_of_two_servers_are_never_the_same() -> None:
    ref = JobRef("moderation", "1")
    far = FarRef("moderation", "1", "staging")
    assert ref != far
    assert far != FarRef("moderation", "1", "lab")
    assert far.near == ref
    assert str(far) == "moderation:1 on staging"
    assert far.to_json() == {"queue": "moderation", "id": "1", "server": "staging"}
    assert len({ref, far}) == 2


def test_what_has_not_changed_stays_the_same_object() -> None:
    placing = Placing("staging")
    first = placing.all(WAITING)
    again = placing.all([replace(WAITING[0], mark="new"), *WAITING[1:]])
    assert again[0] is not first[0]
    assert all(now is before for now, before in zip(again[1:], first[1:], strict=True))
    assert {one.server for one in first} == {"staging"}


def test_a_list_that_holds_still_keeps_its_jobs_and_tells_how_servers_stand_now() -> None:
    held = replace(LIVE, elsewhere=Elsewhere(servers=(server("lab", STAGING),)))
    live = replace(
        LIVE, elsewhere=Elsewhere(servers=(server("lab", (), is_lost=True), *ELSEWHERE.servers[:1]))
    )
    shown = with_lists_of(held, live).elsewhere
    assert shown is not None
    lab, new = shown.servers
    assert [one.id for one in lab.items] == ["5"]
    assert lab.known is not None
    assert lab.known.link.state is LinkState.LOST
    assert new.name == "prod-us"
