"""Closed sets of words for how things go, as server functions answer and hashes hold them."""

from __future__ import annotations

from typing import Literal

#: `kept`: the job was not suspended yet; `changed`: it is in another suspension than the one that was meant.
SignalOutcome = Literal["resumed", "kept", "changed", "not_suspended", "not_found"]
#: `changed`: it is not what was shown any more; `not_shown`: not all of it was shown, so nothing was sent.
DecisionOutcome = Literal["sent", "changed", "not_suspended", "not_found", "not_shown"]
DecisionAction = Literal["approve", "reject"]
#: `resumed`: a kept signal was waiting; `lost`: the run does not own the job any more.
SuspendStatus = Literal["suspended", "resumed", "lost", "not_found"]
AttemptOutcome = Literal["completed", "failed", "suspended", "delayed", "lost"]
#: What a budget that is used up does to jobs that start.
OnExceeded = Literal["fail", "pause"]
