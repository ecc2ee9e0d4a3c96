"""Hits of a vector search and their order, the same for both engines."""

from __future__ import annotations

import math
from typing import NamedTuple


class Hit(NamedTuple):
    """A job and the distance of its vector; smaller is nearer."""

    job_id: str
    score: float


def rank(hit: Hit) -> tuple[bool, float, int, int, str]:
    """Sort key: by distance, NaN last, ties by id, whole numbers before text."""
    job_id, score = hit
    missing = math.isnan(score)
    decimal = job_id.isascii() and job_id.isdigit() and len(job_id) <= 256
    if decimal and (job_id == "0" or job_id[0] != "0"):
        return missing, 0.0 if missing else score, 0, int(job_id), ""
    return missing, 0.0 if missing else score, 1, 0, job_id
