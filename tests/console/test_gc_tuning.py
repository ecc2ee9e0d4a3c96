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
def tuning() -> Iterator[GcTuning]:
    thresholds = gc.get_threshold()
    gc.unfreeze()
    yield GcTuning()
    gc.set_threshold(*thresholds)
    gc.freeze()
    gc.enable()


def test_nothing_is_looked_at_until_the_first_data_stand(tuning: GcTuning) -> None:
    tuning.disable()
    assert not gc.isenabled()
    assert not tuning.collect_if_idle(now=100.0, last_input=0.0)

    tuning.enable(now=1.0)
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0


def test_everything_is_looked_at_while_nobody_types(tuning: GcTuning) -> None:
    ring = Ring()
    gone = weakref.ref(ring)
    tuning.enable(now=0.0)
    del ring
    gc.collect()
    assert gone() is not None, "what stood was set aside"

    assert not tuning.collect_if_idle(now=20.0, last_input=20.0 - IDLE_S / 2)
    assert gone() is not None
    assert tuning.collect_if_idle(now=20.0, last_input=20.0 - IDLE_S)
    assert gone() is None

    assert not tuning.collect_if_idle(now=21.0, last_input=10.0), "once is enough"
    assert tuning.collect_if_idle(now=21.0 + AGAIN_S, last_input=10.0)
