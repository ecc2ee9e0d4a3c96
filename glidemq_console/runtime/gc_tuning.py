"""Schedule Python's garbage collection: a full collection takes longer than a key press may wait.

Existing objects are frozen, so that a collection visits only what was made since. Full collections run while
nobody types, and none runs before the first data are on screen.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass

#: Seconds without input before a full collection, and between two of them.
IDLE_S, AGAIN_S = 10.0, 300.0
#: Thresholds of the three generations, see `gc.set_threshold`.
THRESHOLDS = (1_000, 10, 1_000)


@dataclass
class GcTuning:
    """The garbage collector of a console's process, by the clock of its owner (monotonic s)."""

    #: Time of the last full collection or freeze; None until `enable`.
    collected: float | None = None

    def disable(self) -> None:
        """Collect nothing during the start."""
        gc.disable()

    def tick(self, now: float, last_input: float) -> None:
        """Do what is due; call this about once a second, from when something is on screen."""
        if self.collected is None:
            self.enable(now)
        else:
            self.collect_if_idle(now, last_input)

    def enable(self, now: float) -> None:
        """Freeze what exists and collect what is made from now on."""
        gc.freeze()
        gc.set_threshold(*THRESHOLDS)
        gc.enable()
        self.collected = now

    def collect_if_idle(self, now: float, last_input: float) -> bool:
        """Run a full collection if there is no input and it is due; returns whether it ran."""
        if self.collected is None or now - last_input < IDLE_S:
            return False
        if self.collected > last_input and now - self.collected < AGAIN_S:
            return False
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self.collected = now
        return True
