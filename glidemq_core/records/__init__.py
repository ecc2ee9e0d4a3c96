"""What the engine answers, as frozen records, and how it is decoded.

A field `x_at` is an aware UTC datetime and stands in JSON as `x_ms`; durations are `x_ms` in both.
"""

# ruff: noqa: F403  # every record, wherever it is declared

from __future__ import annotations

from ..options.job import Fallback as Fallback
from ..options.job import JobRef as JobRef
from .approvals import *
from .base import to_json as to_json
from .failures import *
from .flows import *
from .jobs import *
from .operations import *
from .queues import *
from .streams import *
