"""Claims: jobs that this worker has just activated, and those whose reply was lost."""

from __future__ import annotations

from dataclasses import dataclass

from ..server.context import QueueContext
from ..wire.replies import hash_fields, readable

#: Hashes that one read of lost claims brings: each may hold a payload of a megabyte.
_LOADED = 16


@dataclass(frozen=True, slots=True)
class Claim:
    """A job this worker has just activated."""

    entry: str
    job_id: str
    fields: dict[str, bytes]
    processed_on: str
    #: What the job's budget says: "" run it, "fail", "ask" (out of reach of the claim), "parked" (done already).
    stop: str = ""


async def owned(scope: QueueContext, consumer: str, stamp: int) -> list[tuple[str, str]]:
    """Entry and id of every job that is active since `stamp` and held by this consumer, in pages without payloads."""
    found: list[tuple[str, str]] = []
    after, seen = "", 0
    while True:
        following, looked, *pairs = await scope.read("owned", consumer, stamp, after, seen)
        texts = [word.decode("utf-8", "replace") for word in pairs]
        found += zip(texts[::2], texts[1::2], strict=True)
        after, seen = following.decode(), int(looked)
        if not after:
            return found


async def load_claims(scope: QueueContext, found: list[tuple[str, str]], stamp: int) -> list[Claim]:
    """Read the jobs of lost claims, a few at a time; those that somebody has ended meanwhile are left out.

    What their budgets said went with the reply: they have to be asked again.
    """
    claims: list[Claim] = []
    for start in range(0, len(found), _LOADED):
        part = found[start : start + _LOADED]
        replies = await scope.connection.pipeline([("HGETALL", scope.keys.job(job_id)) for _, job_id in part])
        for (entry, job_id), reply in zip(part, replies, strict=True):
            fields = hash_fields(readable(reply))
            if fields.get("state") == b"active" and fields.get("processedOn") == str(stamp).encode():
                claims.append(Claim(entry, job_id, fields, str(stamp), "ask"))
    return claims
