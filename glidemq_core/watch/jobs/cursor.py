"""Cursors of pages: where each source of a list goes on, opaque to who hands them back."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping

from glidemq_core.options.fields import refuse

from .sources import Position

_ALLOWED = "the `next` of an earlier page"


def write_cursor(state: str, newest: bool, positions: Mapping[str, Position]) -> str:
    """Write the position of each source."""
    raw = json.dumps([state, newest, dict(positions)], separators=(",", ":"))
    return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")


def read_cursor(cursor: str | None, state: str, newest: bool) -> dict[str, Position]:
    """Read the positions; none of a first page. Raises InvalidOptionError."""
    if cursor is None:
        return {}
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        found_state, found_newest, positions = json.loads(raw)
    except (ValueError, binascii.Error, TypeError):
        refuse("cursor", cursor, _ALLOWED)
    if found_state != state or found_newest is not newest or not isinstance(positions, dict):
        refuse("cursor", cursor, "the `next` of a page of the same state and order")
    return positions
