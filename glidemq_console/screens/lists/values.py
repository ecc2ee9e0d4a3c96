"""Payloads as lines of a detail: masked, laid out or on one line, cut where they are long."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ...text import format as fmt
from ...text.safe import mask, short
from ...text.shown_keys import key_of
from ...widgets.styled import Parts, Styled, dim, hotkey, label

#: Lines of a payload that are shown.
PAYLOAD_LINES = 40


def size_of(value: Any) -> str:
    """How large a value is as JSON, in words."""
    return fmt.byte_size(len(json.dumps(value, default=str)))


def value_lines(value: Any, size: str, reveal: bool, *, bare: bool, laid_out: bool = True) -> list[Parts]:
    """A payload with its size: on one line, or laid out; `bare` shows it as it is stored."""
    shown, hidden = mask(value, reveal)
    text = json.dumps(shown, ensure_ascii=False, default=str)
    note = f"  {size}" + (f", {fmt.plural(hidden, 'secret')} masked" if hidden and not reveal else "")
    if bare:
        return [[label("payload"), dim(note)], [Styled(short(text, 8_000))]]
    if not laid_out or not shown or not isinstance(shown, Mapping | list):
        return [[dim("payload  "), Styled(short(text, 2_000)), dim(note)]]
    lines = json.dumps(shown, ensure_ascii=False, indent=2, default=str).splitlines()
    rest = len(lines) - PAYLOAD_LINES
    more: list[Parts] = (
        [[dim(f"  {rest:,} more lines; "), hotkey(key_of("failures.page", "o")), dim(" opens the job")]]
        if rest > 0
        else []
    )
    return [
        [label("payload"), dim(note)],
        *([Styled(f"  {short(line, 300)}")] for line in lines[:PAYLOAD_LINES]),
        *more,
    ]
