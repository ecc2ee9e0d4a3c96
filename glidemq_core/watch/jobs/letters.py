"""Dead letters of many queues together: the newest ones, payloads up to a size."""

from __future__ import annotations

from collections.abc import Sequence

from glidemq_core.options.fields import whole
from glidemq_core.options.job import JobRef
from glidemq_core.reading.reader import Reader
from glidemq_core.records.decoding import instant
from glidemq_core.records.failures import DeadLetter, Letters, letter_of
from glidemq_core.wire.entry_ids import parse_id
from glidemq_core.wire.payload import decode_data
from glidemq_core.wire.replies import as_text, entries, failed, integer, number, picked_fields
from glidemq_core.wire.serializer import JSON_SERIALIZER

from .filtering.filter import in_parts

#: Bytes of a letter that are read at most; a longer one counts as left out.
_LONGEST = 65_536
_FIELDS = ("name", "timestamp", "data")

#: A letter's place, and the entry that lists it.
Listed = tuple[JobRef, str]
KnownLetters = dict[Listed, DeadLetter]


async def read_letters(reader: Reader, queues: Sequence[str], limit: int, known: KnownLetters) -> Letters:
    """Read the newest letters of the queues that hold those of `queues`.

    Args:
        limit: entries that are looked at, in all.
        known: what an earlier call read; a letter never changes and is not read again.

    Raises:
        InvalidOptionError: `limit` is not a whole number from 1 on.
    """
    whole(1)(limit, "limit")
    at = reader.now()
    holders = await letter_holders(reader, queues)
    replies = await reader.read(
        [("XREVRANGE", reader.keys(name).stream, "+", "-", "COUNT", limit) for name in holders]
        + [("XLEN", reader.keys(name).stream) for name in holders]
    )
    found: list[Listed] = []
    complete = True
    for name, reply in zip(holders, replies, strict=False):
        if failed(reply):
            complete = False
            continue
        found += [
            (JobRef(name, job_id), entry)
            for entry, fields in entries(reply)
            if (job_id := dict(fields).get("jobId"))
        ]
    total = sum(int(number(reply) or 0) for reply in replies[len(holders) :] if not failed(reply))
    found.sort(key=lambda one: parse_id(one[1]), reverse=True)
    newest = found[:limit]
    fresh = await read_listed(reader, [one for one in newest if one not in known])
    letters = {one: letter for one in newest if (letter := fresh.get(one) or known.get(one)) is not None}
    known.clear()
    known.update(letters)
    return Letters(
        letters=tuple(letters.values()), total=total, complete=complete and total <= len(letters), at=at
    )


async def letter_holders(reader: Reader, queues: Sequence[str]) -> list[str]:
    """Return the queues that hold the letters of some queues, each once."""
    replies = await reader.read([("HGET", reader.keys(name).meta, "deadLetterQueueName") for name in queues])
    return sorted({as_text(reply) for reply in replies if reply and not failed(reply)})


async def read_listed(reader: Reader, wanted: Sequence[Listed]) -> dict[Listed, DeadLetter]:
    """Read letters; jobs that are gone, too long or no letters are left out."""
    letters: dict[Listed, DeadLetter] = {}
    sizes = await reader.read([("HSTRLEN", reader.keys(ref.queue).job(ref.id), "data") for ref, _ in wanted])
    short = [
        (one, integer(size))
        for one, size in zip(wanted, sizes, strict=True)
        if not failed(size) and 0 < integer(size) <= _LONGEST
    ]
    for part in in_parts(short):
        rows = await reader.read([("HMGET", reader.keys(ref.queue).job(ref.id), *_FIELDS) for ref, _ in part])
        for one, row in zip(part, rows, strict=True):
            fields = {} if failed(row) else picked_fields(_FIELDS, row)
            content = decode_data(fields.get("data"), JSON_SERIALIZER).value
            name, failed_at = as_text(fields.get("name")), instant(fields.get("timestamp"))
            if (letter := letter_of(one[0], name, content, failed_at)) is not None:
                letters[one] = letter
    return letters
