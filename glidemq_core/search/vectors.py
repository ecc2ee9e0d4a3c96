"""Vectors as they are stored: little-endian float32, in a field whose name is not reserved."""

from __future__ import annotations

import math
import re
import sys
from array import array
from collections.abc import Iterable, Mapping, Set
from typing import Any, Final

from ..options.fields import refuse

#: Fields of a job's record, glide-mq's and ours: a vector there would destroy the job.
RESERVED: Final = frozenset(
    """
    id name data opts timestamp attemptsMade delay priority maxAttempts state groupKey orderingSeq cost expireAt
    lifo parentId parentQueue schedulerName processedOn lastActive returnvalue finishedOn failedReason
    stalledCount revoked progress fallbackIndex tpmTokens suspendedAt suspendReason suspendTimeout signals
    budgetKey depsCompleted parentIds parentQueues flowId orderingKey budgetPausedAt budgetBooked suspendBase
    usageMark logMark streamMark dataMark progressMark tokensMark roundFrom flowToken steps
    """.split()  # noqa: SIM905 - one table, not forty lines
)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_NAME_RULE = "a letter or _, then letters, digits and _"


def field_name(value: Any, option: str = "name") -> str:
    """Check a name that may be used in a query. Raises InvalidOptionError."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        refuse(option, value, _NAME_RULE)
    return value


def vector_name(value: Any, option: str = "field") -> str:
    """Check the name of a field that may hold vectors. Raises InvalidOptionError."""
    name = field_name(value, option)
    if name in RESERVED:
        refuse(option, value, "a name of your own", f"{option} '{name}' belongs to the job's record")
    return name


def pack(embedding: Any, option: str = "embedding") -> bytes:
    """Return a vector as little-endian float32.

    Args:
        embedding: a sequence or buffer of numbers; bytes are taken for float32 already packed.

    Raises:
        InvalidOptionError: it is empty, holds anything but numbers, or a number that float32 cannot hold.
    """
    allowed = "a sequence of finite numbers, or a buffer of float32"
    numbers = array("f")
    if isinstance(embedding, (bytes, bytearray)):
        if len(embedding) % 4:
            message = f"{option} has {len(embedding)} bytes, which is no whole number of float32"
            refuse(option, embedding, allowed, message)
        numbers.frombytes(embedding)
        if sys.byteorder == "big":
            numbers.byteswap()
    else:
        try:
            numbers.extend(_floats(embedding))
        except (TypeError, ValueError, OverflowError):
            refuse(option, embedding, allowed, f"{option} must be {allowed}")
    if not numbers:
        refuse(option, embedding, allowed, f"{option} is empty")
    if not all(map(math.isfinite, numbers)):
        refuse(option, embedding, allowed, f"{option} holds NaN, infinity or a number too large for float32")
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _floats(embedding: Any) -> Iterable[float]:
    if isinstance(embedding, (str, Mapping, Set)):
        raise TypeError
    for number in embedding:
        if isinstance(number, (bool, str)):
            raise TypeError
        yield float(number)
