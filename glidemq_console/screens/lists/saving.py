"""What goes into a file of a list: rows as they are shown, their records, and payloads where these are asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ...feed.protocol import Feed
from ...saving.formats import SavedRow
from ...saving.payloads import without_payloads
from ...text.safe import mask, masked_text
from ...widgets.lists.columns import Column
from ...widgets.styled import parts_of

if TYPE_CHECKING:
    from glidemq_core import JobRef

T = TypeVar("T")

#: Bytes of one payload that are written; what is longer is told and left out.
PAYLOAD_LIMIT = 16 << 20
#: Payloads that are read at once.
_AT_ONCE = 20


def saved_row(
    columns: Sequence[Column[Any]],
    record_of: Callable[[Any], object | None],
    now_ms: int,
    *,
    payload: bool,
    reveal: bool,
) -> Callable[[tuple[Any, dict[str, Any]]], SavedRow]:
    """Return what makes the row of an item and of what was read beside it, its secrets masked unless revealed."""

    def row_of(pair: tuple[Any, dict[str, Any]]) -> SavedRow:
        from glidemq_core.records.base import to_json

        item, more = pair
        texts = {column.title: _text(column, item, now_ms, reveal=reveal) for column in columns}
        record = record_of(item)
        fields = (
            {column.key: texts[column.title] for column in columns} if record is None else to_json(record)
        )
        fields = {**(fields if payload else without_payloads(fields)), **more}
        return SavedRow(texts, mask(fields, reveal)[0])

    return row_of


def _text(column: Column[Any], item: Any, now_ms: int, *, reveal: bool) -> str:
    words = "".join(part.text for part in parts_of(column.cell(item, now_ms)))
    return masked_text(words.strip(), reveal)


async def with_payloads(
    pages: AsyncIterator[Sequence[T]], ref_of: Callable[[T], JobRef | None], feed: Feed, *, payload: bool
) -> AsyncIterator[Sequence[tuple[T, dict[str, Any]]]]:
    """Put beside each item what its job was given and gave, where that is asked for."""
    async for page in pages:
        if not payload or not page:
            yield [(item, {}) for item in page]
            continue
        for at in range(0, len(page), _AT_ONCE):
            some = page[at : at + _AT_ONCE]
            found = await asyncio.gather(*(_payload(feed, ref_of(item)) for item in some))
            yield list(zip(some, found, strict=True))


async def payloads(refs: Sequence[JobRef], feed: Feed) -> dict[str, dict[str, Any]]:
    """Read what jobs were given and gave, by their names."""
    found: dict[str, dict[str, Any]] = {}
    for at in range(0, len(refs), _AT_ONCE):
        some = refs[at : at + _AT_ONCE]
        read = await asyncio.gather(*(_payload(feed, ref) for ref in some))
        found |= dict(zip(map(str, some), read, strict=True))
    return found


async def _payload(feed: Feed, ref: JobRef | None) -> dict[str, Any]:
    job = await feed.of(ref).job(ref, payload_limit=PAYLOAD_LIMIT) if ref is not None else None
    if job is None:
        return {}
    return {
        "data": job.data,
        "data_bytes": job.data_bytes,
        "data_error": job.data_error,
        "result": job.result,
    }
