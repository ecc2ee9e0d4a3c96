"""Vector search by the search module of the server (Valkey Search, RediSearch): the FT.* commands.

They go over a RESP2 connection, because the driver cannot read RediSearch's RESP3 answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import InvalidOptionError, ServerError
from ..options.fields import amount, flag, refuse, some_text, whole
from ..server.context import QueueContext
from ..wire.replies import as_text
from .hits import Hit, rank
from .schema import Schema

#: What a server says of an index that is there already, and of one that is not.
_EXISTS = ("already exists",)
_MISSING = ("unknown: index name", "unknown index name", "no such index", "not found")


def create_words(options: Mapping[str, Any] | None) -> list[str]:
    """Check `create_options` and return them as arguments of FT.CREATE. Raises InvalidOptionError."""
    if options is None:
        return []
    if not isinstance(options, Mapping):
        refuse("create_options", options, "a map of option to value")
    words: list[str] = []
    for name, value in options.items():
        if name in ("skip_initial_scan", "with_offsets", "no_offsets", "no_stop_words"):
            words += [name.replace("_", "").upper()] if flag(value, name) else []
        elif name == "score":
            words += ["SCORE", str(amount(value, name))]
        elif name in ("language", "punctuation"):
            words += [name.upper(), some_text(value, name)]
        elif name == "min_stem_size":
            words += ["MINSTEMSIZE", str(whole(0)(value, name))]
        elif name == "stop_words":
            if isinstance(value, str) or not isinstance(value, Sequence):
                refuse(name, value, "a list of words")
            words += ["STOPWORDS", str(len(value)), *(some_text(word, name) for word in value)]
        else:
            allowed = "score, language, skip_initial_scan, min_stem_size, with_offsets, no_offsets, "
            refuse("create_options", name, allowed + "no_stop_words, stop_words, punctuation")
    return words


def is_missing_module(answer: object) -> bool:
    """Tell whether a server refused an FT.* command because it knows none."""
    return isinstance(answer, ServerError) and "unknown command" in answer.message.lower()


async def create(context: QueueContext, name: str, schema: Schema, options: Sequence[str]) -> bool:
    """Create an index as glide-mq does, so that either may use it; False: one of that name exists."""
    prefix = context.keys.root.removesuffix("}")
    head = ["FT.CREATE", name, "ON", "HASH", "PREFIX", "1", prefix, *options]
    return await _ask(context, _EXISTS, *head, "SCHEMA", *schema.words()) is not None


async def drop(context: QueueContext, name: str) -> bool:
    """Drop an index, not its jobs; False: there is none."""
    return await _ask(context, _MISSING, "FT.DROPINDEX", name) is not None


async def _ask(context: QueueContext, expected: tuple[str, ...], *words: str) -> Any:
    """Run an FT.* command about one index; None if it was refused with one of the expected texts."""
    try:
        return await (await context.connection.resp2()).command(*words)
    except ServerError as error:
        if any(text in error.message.lower() for text in expected):
            return None
        raise


async def describe(context: QueueContext, name: str) -> tuple[str, int] | None:
    """Return the first vector field of an index and its dimensions; None: no index with one covers this queue."""
    info = _pairs(await _ask(context, _MISSING, "FT.INFO", name))
    prefixes = _pairs(info.get("index_definition")).get("prefixes") or ()
    if not any(context.keys.job("").startswith(as_text(prefix)) for prefix in prefixes):
        return None
    for attribute in info.get("attributes") or ():
        facts = _pairs(attribute)
        if as_text(facts.get("type")) == "VECTOR":
            field = as_text(facts.get("attribute") or facts.get("identifier"))
            index = _pairs(facts.get("index")) or facts
            dimensions = int(index.get("dim") or index.get("dimensions") or 0)
            return (field, dimensions) if field else None
    return None


async def nearest(
    context: QueueContext,
    name: str,
    field: str,
    target: bytes,
    k: int,
    where: str,
    score_field: str,
    timeout_ms: int | None,
) -> tuple[list[Hit], int]:
    """Find the `k` nearest vectors: return those of this queue's jobs, in no order, and how many were found at all.

    The index's prefix has no closing brace, so that it also covers queues whose names begin with this one's.

    Raises:
        InvalidOptionError: the server cannot parse the filter.
    """
    chosen = where if where.strip() == "*" else f"({where})"
    words: list[str | bytes] = ["FT.SEARCH", name, f"{chosen}=>[KNN {k} @{field} $BLOB AS {score_field}]"]
    words += ["PARAMS", "2", "BLOB", target, "RETURN", "1", score_field, "LIMIT", "0", str(k)]
    if timeout_ms is not None:
        words += ["TIMEOUT", str(timeout_ms)]
    try:
        reply = await (await context.connection.resp2()).command(*words, "DIALECT", "2")
    except ServerError as error:
        if "syntax" in error.message.lower() or "invalid filter" in error.message.lower():
            detail = error.message.partition("with an error: ")[2]
            message, allowed = f"filter: the server cannot read it: {detail}", "a filter expression or '*'"
            raise InvalidOptionError(message, option="filter", value=where, allowed=allowed) from error
        raise
    found = reply[1] if len(reply) > 1 and isinstance(reply[1], Mapping) else {}
    best: dict[str, Hit] = {}
    for key, values in found.items():
        job_id = _job_of(context, as_text(key))
        score = _score(values, score_field)
        if job_id is not None and score is not None:
            hit = Hit(job_id, score)  # twice, when the job has a vector in its record and one beside it
            best[job_id] = min(best.get(job_id, hit), hit, key=rank)
    return list(best.values()), len(found)


def _job_of(context: QueueContext, key: str) -> str | None:
    """Job id of a key of this queue that may hold a vector."""
    for head in (context.keys.job(""), context.keys.vec("")):
        if key.startswith(head):
            job_id = key[len(head) :]
            return job_id if job_id and ":" not in job_id else None
    return None


def _score(values: Any, score_field: str) -> float | None:
    try:
        return float(as_text(_pairs(values)[score_field]).replace("-nan", "nan"))
    except (KeyError, ValueError):  # the job went while the module answered
        return None


def _pairs(reply: Any) -> dict[str, Any]:
    """Return a reply of names and values, which comes as a map or as a flat list, as a map."""
    if isinstance(reply, Mapping):
        return {as_text(name): value for name, value in reply.items()}
    if isinstance(reply, (list, tuple)) and len(reply) % 2 == 0:
        return {as_text(name): value for name, value in zip(reply[::2], reply[1::2], strict=True)}
    return {}
