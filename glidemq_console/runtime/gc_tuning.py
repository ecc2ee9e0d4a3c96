"""When Python looks for unreachable cycles: a look at all that a console holds takes longer than a key may wait.

What stands is set aside, so that a look sees only what has come since; all of it is looked at while nobody
types. Until the first data are on screen nothing is looked at.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass

#: A look at everything once nobody has typed for this long, and again after this long, s.
IDLE_S, AGAIN_S = 10.0, 300.0
#: New objects before a look at the young ones, such looks before a deeper one, those before one at all.
THRESHOLDS = (1_000, 10, 1_000)


@dataclass
class GcTuning:
    """The collector of a console's process, by the clock of its owner (monotonic s)."""

    #: When everything was looked at last; None until `settle`.
    looked: float | None = None

    def hold(self) -> None:
        """Look at nothing during the start."""
        gc.disable()

    def second(self, now: float, last_input: float) -> None:
        """Do what is due; to be called about once a second, from when something is on screen."""
        if self.looked is None:
            self.settle(now)
        else:
            self.rest(now, last_input)

    def settle(self, now: float) -> None:
        """Set aside what stands and look at what comes from here on."""
        gc.freeze()
        gc.set_threshold(*THRESHOLDS)
        gc.enable()
        self.looked = now

    def rest(self, now: float, last_input: float) -> bool:
        """Look at everything if nobody types and it is due; tells whether it was."""
        if self.looked is None or now - last_input < IDLE_S:
            return False
        if self.looked > last_input and now - self.looked < AGAIN_S:
            return False
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self.looked = now
        return True
