"""Records that no client writes, in every kind of key: a reader tells what it cannot read and goes on."""

from __future__ import annotations

from glidemq_core.server.connection import Connection
from glidemq_core.wire.keys import QueueKeys, registry, usage_queues

_DEEP = b"[" * 100_000
_DIGITS = b"9" * 5_000

#: Name -> bytes that stand where a number, a word or JSON belongs.
POISONS: dict[str, bytes] = {
    "garbage": b"\x00\x1b]52;c;aGVsbG8=\x07 no json",
    "deep": _DEEP,
    "deepobject": b'{"until":1e15,"addr":"x","pid":1,"startedAt":1,"k":"usage","x":'
    + b'{"a":' * 50_000
    + b"1"
    + b"}" * 50_001,
    "digits": _DIGITS,
    "hugeint": b'{"until":' + _DIGITS + b',"k":"end","attempt":' + _DIGITS + b"}",
    "hugefloat": b'{"until":1e308,"rpm":{"max":1e308,"duration":1e308},"tpm":{"maxTokens":1e308,"duration":1e308},'
    b'"k":"end","attempt":1e308,"at":1e308,"started":-1e308,"outcome":[],"error":{},"usage":{"totalTokens":1e308},'
    b'"addr":"x","pid":1e308,"startedAt":1e15,"seq":1e308,"at_ms":1e308,"every":1e308,"nextRun":1e308,'
    b'"receivedAt":1e308}',
    "overflow": b'{"until":1e999,"rpm":{"max":1e999,"duration":1e999},"tpm":{"maxTokens":1e999,"duration":1e999},'
    b'"k":"end","attempt":1e999,"at":1e999,"started":-1e999,"outcome":[],"error":{},"usage":{"totalTokens":1e999},'
    b'"addr":"x","pid":1e999,"startedAt":1e15,"seq":1e999,"at_ms":1e999,"every":1e999,"nextRun":1e999,'
    b'"receivedAt":1e999}',
    "shapes": b'{"until":[],"rpm":[1],"tpm":"x","k":"end","attempt":{},"at":"x","usage":[],"addr":"x","pid":"y",'
    b'"startedAt":null,"jobs":{"a":1},"template":[],"every":"x","seq":"x","at_ms":null,"job_ids":7,"by":null,'
    b'"count":{},"detail":[]}',
    "listing": b'[1,null,"x",{"name":7,"data":{},"receivedAt":"x"},{"name":null,"receivedAt":1e308}]',
    "string": b'"word"',
    "null": b"null",
    "nan": b"NaN",
    "negative": b"-99999999999999999999",
    "infinite": b"1e999",
    "utf8": b"\xff\xfe\x80\xf0\x9f",
    "empty": b"",
}

_JOB_FIELDS = [
    "id",
    "name",
    "data",
    "opts",
    "timestamp",
    "attemptsMade",
    "delay",
    "priority",
    "maxAttempts",
    "state",
    "processedOn",
    "finishedOn",
    "returnvalue",
    "failedReason",
    "progress",
    "parentId",
    "parentQueue",
    "parentIds",
    "parentQueues",
    "lastActive",
    "fallbackIndex",
    "signals",
    "suspendReason",
    "suspendedAt",
    "suspendTimeout",
    "suspendBase",
    "groupKey",
    "orderingSeq",
    "lifo",
    "cost",
    "expireAt",
    "schedulerName",
    "revoked",
    "stalledCount",
    "tpmTokens",
    "budgetKey",
    "budgetPausedAt",
    "usage:model",
    "usage:provider",
    "usage:tokens",
    "usage:totalTokens",
    "usage:costs",
    "usage:totalCost",
    "usage:costUnit",
    "usage:latencyMs",
    "usage:cached",
    "usage:bucketTs",
]
_META = ["paused", "globalConcurrency", "rateLimitMax", "rateLimitDuration", "deadLetterQueueName"]
_GROUP = [
    "maxConcurrency",
    "active",
    "rateMax",
    "rateDuration",
    "rateWindowStart",
    "rateCount",
    "tbCapacity",
    "tbRefillRate",
    "tbTokens",
    "tbLastRefill",
]
_BUDGET = [
    "maxTotalTokens",
    "maxTokens",
    "tokenWeights",
    "maxTotalCost",
    "maxCosts",
    "costUnit",
    "onExceeded",
    "exceeded",
    "usedTokens",
    "usedCost",
    "usedTokens:x",
    "usedCost:x",
]
_USAGE = ["totalTokens", "totalCost", "costUnit", "jobCount", "tokens:x", "costs:x", "models:x"]
#: States in which a job of each queue stands.
STATES = ("waiting", "active", "delayed", "suspended", "failed", "completed", "waiting-children")


async def poison(connection: Connection, queue: str, value: bytes) -> None:
    """Fill a queue with records whose every field is `value`; jobs are named by their state, and `job` has none."""
    keys, now = QueueKeys("glide", queue), connection.now_ms()
    minute = now - now % 60_000

    def every(fields: list[str]) -> list[str | bytes]:
        return [part for name in fields for part in (name, value)]

    commands: list[list[str | bytes | int]] = [
        ["SADD", registry("glide"), queue],
        ["SADD", usage_queues("glide"), queue],
        ["HSET", keys.meta, *every(_META)],
        ["HSET", keys.rate, *every(["windowStart", "count"])],
        ["HSET", keys.limits, "worker", value],
        ["HSET", keys.schedulers, "nightly", value],
        ["HSET", keys.dedup, "key", value],
        ["HSET", keys.ordering, "tenant", value],
        ["HSET", keys.group("tenant"), *every(_GROUP)],
        ["ZADD", keys.groupq("tenant"), 1, value or b"x"],
        ["ZADD", keys.ratelimited, 1, "tenant"],
        ["SET", keys.list_active, value],
        ["SET", keys.worker("host:1"), value],
        ["XADD", keys.audit, "1-0", "entry", value],
        ["XADD", keys.events, "*", "event", value, "jobId", value],
        ["RPUSH", keys.lifo, value or b"x"],
        ["RPUSH", keys.priority, value or b"x"],
        ["XADD", keys.stream, "*", "jobId", value],
        ["ZADD", keys.scheduled, 1, value or b"x"],
    ]
    for kind in ("completed", "failed"):
        commands.append(
            ["HSET", keys.metrics(kind), *every([f"m:{minute - 60_000}:{what}" for what in "cd"])]
        )
    commands.append(["HSET", keys.usage(minute - 60_000), *every(_USAGE)])
    for state in (*STATES, "job"):
        fields = [field for field in _JOB_FIELDS if field != "state" or state == "job"]
        commands += [
            ["HSET", keys.job(state), *every(fields)],
            ["RPUSH", keys.ledger(state), value, b'{"k":"usage","attempt":1}', value],
            ["RPUSH", keys.log(state), value],
            ["XADD", keys.jstream(state), "*", "chunk", value, value or b"x", value],
            ["SADD", keys.deps(state), value or b"x", keys.member("gone")],
            ["SADD", keys.parents(state), value or b"x"],
            ["HSET", keys.budget(state), *every(_BUDGET)],
            ["SADD", keys.budget_parked(state), value or b"x"],
        ]
        if state != "job":
            commands.append(["HSET", keys.job(state), "state", state])
    commands += [
        ["XGROUP", "CREATE", keys.stream, "workers", "0", "MKSTREAM"],
        ["XADD", keys.stream, "*", "jobId", "active"],
        ["XREADGROUP", "GROUP", "workers", "host:1", "COUNT", 10, "STREAMS", keys.stream, ">"],
        ["XADD", keys.stream, "*", "jobId", "waiting"],
        ["ZADD", keys.scheduled, now + 60_000, "delayed"],
        ["ZADD", keys.suspended, now + 60_000, "suspended", 1, value or b"x"],
        ["ZADD", keys.failed, now, "failed"],
        ["ZADD", keys.completed, now, "completed"],
        # The budget of its flow is found by a key that makes sense.
        ["HSET", keys.job("failed"), "budgetKey", keys.budget("failed"), "name", "answer"],
    ]
    await connection.pipeline(commands)


async def poison_types(connection: Connection, queue: str) -> None:
    """Make every key of a queue one of a type that does not belong there."""
    keys = QueueKeys("glide", queue)
    names = (
        keys.meta, keys.rate, keys.limits, keys.schedulers, keys.dedup, keys.ordering, keys.group("tenant"),
        keys.ratelimited, keys.worker("host:1"), keys.audit, keys.events, keys.stream, keys.scheduled,
        keys.suspended, keys.failed, keys.completed, keys.metrics("completed"), keys.metrics("failed"),
        keys.job("job"), keys.ledger("job"), keys.log("job"), keys.jstream("job"), keys.deps("job"),
        keys.parents("job"), keys.budget("job"), keys.list_active, keys.lifo, keys.priority,
    )  # fmt: skip
    lists = (keys.lifo, keys.priority, keys.ledger("job"), keys.log("job"))
    await connection.pipeline(
        [
            ["SADD", registry("glide"), queue],
            *(["SET", name, "x"] if name in lists else ["RPUSH", name, "x"] for name in names),
        ]
    )
