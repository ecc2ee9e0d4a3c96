"""Steps of a job: work whose result is kept, so that a run that starts over does not do it again."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from ..errors import SerializationError
from ..jobs.active_run import RunCalls
from ..jobs.snapshot import JobSnapshot
from ..options.fields import refuse, some_text
from ..wire import payload
from ..wire.replies import hash_fields

#: Bytes of names and results that all steps of a job may have.
MOST_BYTES: Final = 16 * 1_048_576
#: Characters of a name.
_NAME: Final = 256
#: How the field of a step begins.
_STEP: Final = "s:"


class Steps:
    """The steps of one run: what earlier runs of the job have kept, and which names this one has used."""

    def __init__(self, job: JobSnapshot[Any, Any], calls: RunCalls) -> None:
        self._job, self._calls = job, calls
        self._used: set[str] = set()
        self._kept: dict[str, bytes] | None = None
        self._loading = asyncio.Lock()

    async def find(self, name: str) -> tuple[bool, Any]:
        """Begin a step; tells whether its result is there, and which.

        Raises: InvalidOptionError for a name used twice in this run; SerializationError.
        """
        if len(some_text(name, "name")) > _NAME:
            refuse("name", name, f"at most {_NAME} characters")
        if name in self._used:
            message = f"step '{name}' of job '{self._job.ref}' was called twice in one run: give each a name of its own"
            refuse("name", name, "a name of its own", message)
        self._used.add(name)
        async with self._loading:
            if self._kept is None:
                self._kept = await self._load()
        stored = self._kept.get(name)
        return (False, None) if stored is None else (True, self._read(name, stored))

    async def keep(self, name: str, result: Any) -> Any:
        """Keep the result of a step; returns it as a later run will read it.

        Raises: PayloadTooLargeError (a result over 1 MiB, all over 16 MiB), SerializationError; JobLostError.
        """
        job = self._job
        text = payload.encode_result(result, job._context.serializer, job_id=job.id)
        stored = await self._store(name, text)
        if self._kept is not None:
            self._kept[name] = stored
        job.fields["steps"] = b"1"
        return self._read(name, stored)

    def forget(self) -> None:
        """The payload was replaced, and what was worked out from the former one is gone."""
        if self._kept is not None:
            self._kept = {}
        self._job.fields.pop("steps", None)

    def _read(self, name: str, stored: bytes) -> Any:
        decoded = payload.decode_result(stored, self._job._context.serializer)
        if decoded.error is not None:
            raise SerializationError(
                f"the result of step '{name}': {decoded.error}", what="result", job_id=self._job.id
            )
        return decoded.value

    async def _load(self) -> dict[str, bytes]:
        """Read what earlier runs have kept; no call is made for a job that has no steps."""
        job, context = self._job, self._job._context
        if "steps" not in job.fields:
            return {}
        key = context.keys.steps(job.id)
        flat = await self._calls.repeat(lambda _: context.connection.command("HGETALL", key))
        fields = hash_fields(flat)
        if fields.get("t") != job.fields.get("timestamp"):  # of an earlier job of this id
            return {}
        return {name[len(_STEP) :]: value for name, value in fields.items() if name.startswith(_STEP)}

    async def _store(self, name: str, text: str) -> bytes:
        job, calls = self._job, self._calls
        words = (job.id, name, text, calls.processed_on, MOST_BYTES)
        status, *rest = await calls.repeat(lambda _: job._context.call("keep_step", *words))
        if status == b"too_large":
            size = int(rest[0])
            message = (
                f"the steps of job '{job.ref}' would take {size} bytes, at most {MOST_BYTES} are allowed"
            )
            payload.refuse_size("steps", size, limit=MOST_BYTES, message=message)
        if status != b"ok":
            raise job._context.refusal(job.id, status)
        kept: bytes = rest[0]
        return kept
