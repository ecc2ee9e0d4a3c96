"""What a person decided about a job, as its processor gets to know it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from ..errors import SerializationError
from ..wire.payload import encode_json
from .approvals import ReviewDecision, Signal
from .decoding import Fields, decode_new_signals


def review_decision(fields: Fields, own_data: Callable[[], Any]) -> ReviewDecision | None:
    """Read the newest decision since the latest suspension; None if nobody decided.

    Only what `approve` and `reject` sent is a decision, whatever else a signal says.

    Args:
        own_data: reads the job's own payload, for a decision that did not edit it.
    """
    return next(
        (
            _decision(fields, signal, own_data)
            for signal in reversed(decode_new_signals(fields))
            if _is_decision(signal)
        ),
        None,
    )


def _is_decision(signal: Signal) -> bool:
    said = signal.data
    return (
        isinstance(said, dict)
        and said.get("action") in ("approve", "reject")
        and said.get("approved") is (said["action"] == "approve")
        and isinstance(said.get("by"), str)
        and isinstance(said.get("data_sha256"), str)
    )


def _decision(fields: Fields, signal: Signal, own_data: Callable[[], Any]) -> ReviewDecision:
    said: dict[str, Any] = signal.data
    edited = "data" in said
    found = _sha256_of(said["data"]) if edited else hashlib.sha256(fields.get("data", b"")).hexdigest()
    return ReviewDecision(
        approved=said["approved"],
        by=said["by"],
        comment=_text(said.get("comment")),
        reason=_text(said.get("reason")),
        data=said["data"] if edited else own_data(),
        at=signal.received_at,
        review_hash=_text(said.get("review_hash")),
        is_current=found == said["data_sha256"],
    )


def _sha256_of(data: Any) -> str | None:
    try:
        return hashlib.sha256(encode_json(data, "signal data").encode()).hexdigest()
    except SerializationError:
        return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
