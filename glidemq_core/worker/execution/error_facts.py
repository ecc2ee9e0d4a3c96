"""What the ledger keeps of an error: its type, and where it was raised."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

#: Innermost bytes of a traceback that the ledger keeps.
_TRACE_BYTES = 4_096
#: Innermost frames, and characters of one line of it: a message may be of any length.
_FRAMES = 40
_LINE = 500
_OWN = str(Path(__file__).parents[2])


def error_facts(error: BaseException) -> dict[str, Any]:
    """What the ledger keeps of an error beside its text: `error_type`, and `trace` if it was raised."""
    facts: dict[str, Any] = {"error_type": type(error).__name__}
    trace = _trace(error)
    return facts | {"trace": trace} if trace else facts


def _trace(error: BaseException) -> str | None:
    """Format a traceback, innermost part of it; None for an error that was never raised."""
    raised = of_processor(error.__traceback__)
    if raised is None:
        return None
    try:
        lines = traceback.TracebackException(
            type(error), error, raised, limit=-_FRAMES, compact=True
        ).format()
        text = "".join(line if len(line) <= _LINE else f"{line[:_LINE]}…\n" for line in lines)
    except Exception:  # noqa: BLE001 - a foreign exception may fail at anything
        return None
    encoded = text.rstrip().encode("utf-8", "replace")
    if len(encoded) <= _TRACE_BYTES:
        return encoded.decode()
    return "…" + encoded[-(_TRACE_BYTES - 3) :].decode("utf-8", "ignore")


def of_processor(raised: TracebackType | None) -> TracebackType | None:
    """Leave out our own frames, through which every processor is called."""
    inner = raised
    while inner is not None and inner.tb_frame.f_code.co_filename.startswith(_OWN):
        inner = inner.tb_next
    return inner or raised
