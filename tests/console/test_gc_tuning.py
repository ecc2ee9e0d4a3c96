"""When the console's process looks for unreachable cycles."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from glidemq_console.runtime.gc_tuning import AGAIN_S, IDLE_S, GcTuning


class Ring:
    """An object that holds itself."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def garbage() -> Iterator[GcTuning]:
    thresholds = gc.get_threshold()
    yield GcTuning()
    gc.set_threshold(*thresholds)
    gc.unfreeze()
    gc.enable()


def test_nothing_is_looked_at_until_the_first_data_stand(garbage: GcTuning) -> None:
    garbage.hold()
    assert not gc.isenabled()
    assert not garbage.rest(now=100.0, last_input=0.0)

    garbage.settle(now=1.0)
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0


def test_everything_is_looked_at_while_nobody_types(garbage: GcTuning) -> None:
    ring = Ring()
    gone = weakref.ref(ring)
    garbage.settle(now=0.0)
    del ring
    gc.collect()
    assert gone() is not None, "what stood was set aside"

    assert not garbage.rest(now=20.0, last_input=20.0 - IDLE_S / 2)
    assert gone() is not None
    assert garbage.rest(now=20.0, last_input=20.0 - IDLE_S)
    assert gone() is None

    assert not garbage.rest(now=21.0, last_input=10.0), "once is enough"
    assert garbage.rest(now=21.0 + AGAIN_S, last_input=10.0)
