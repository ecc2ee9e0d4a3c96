"""Ids of stream entries, `<ms>-<n>`: read for comparing, written for asking."""

from __future__ import annotations

EntryId = tuple[int, int]


def parse_id(entry_id: str | bytes) -> EntryId:
    """Read an id; a bare ms stands for `<ms>-0`. Raises ValueError for what is none."""
    ms, _, seq = (entry_id.decode() if isinstance(entry_id, bytes) else entry_id).partition("-")
    return int(ms), int(seq or 0)


def id_text(entry_id: EntryId) -> str:
    """Write an id."""
    return f"{entry_id[0]}-{entry_id[1]}"
