"""Filters of lists: what is wrong with one, and how far one looked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...model.snapshot import JobList
from ...widgets.lists.columns import Heading, Row
from ...widgets.styled import dim

if TYPE_CHECKING:
    from glidemq_core.filters.language import Fields


def problem_of(text: str, fields: Fields[Any]) -> str | None:
    """Say why a text is no filter of such items, and where; None for one that is."""
    from glidemq_core.errors import FilterSyntaxError
    from glidemq_core.filters.language import parse_expression

    try:
        parse_expression(text, fields)
    except FilterSyntaxError as error:
        return f"at character {error.at + 1}: {error.problem}"
    return None


def looked_words(shown: JobList) -> str:
    """Say how many jobs a filter takes of how many that were looked at."""
    looked = shown.looked or 0
    of = f" of {shown.total:,}" if shown.total is not None and shown.total > looked else ""
    return f"{len(shown.rows):,} match · looked at {looked:,}{of}{' · looking' if shown.is_searching else ''}"


def further_row(shown: JobList) -> Row | None:
    """Return the row below what was found, where enter looks further."""
    if shown.looked is None or shown.is_searching or not shown.has_more:
        return None
    return Row(Heading("further"), {}, words=[dim(f"{looked_words(shown)} · enter looks further")])
