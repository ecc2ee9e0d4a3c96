"""Job data, results and progress as stored text and back; sizes are checked here."""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import zlib
from typing import Any, Final, NamedTuple, NoReturn

from ..errors import PayloadTooLargeError, SerializationError
from .numbers import number_text, parse_number
from .replies import as_text
from .serializer import Serializer
from .strict_json import compact_json, parse_json

#: Limit of data, results, log lines, progress and stream chunks, in bytes of UTF-8 before compression.
MAX_PAYLOAD_BYTES: Final = 1_048_576
_COMPRESSED = "gz:"
_OTHER_SERIALIZER = "convert it before, or give the queue and its workers a serializer= that can write it"


class Decoded(NamedTuple):
    """A stored payload read back; `error` says why `value` stands in for what could not be read."""

    value: Any
    error: str | None = None


def encode_data(
    value: Any, serializer: Serializer, *, compression: str = "none", job_id: str | None = None
) -> str:
    """Serialize job data, and compress it if `compression` is "gzip".

    Raises:
        SerializationError: the serializer cannot write it (NaN is not JSON).
        PayloadTooLargeError: over 1048576 bytes before compression.
    """
    text = _serialize(value, serializer, "data", job_id)
    check_size(text, "data")
    if compression != "gzip":
        return text
    return _COMPRESSED + base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")


def decode_data(stored: bytes | str | None, serializer: Serializer) -> Decoded:
    """Read job data, compressed or not; what cannot be read is `{}` with an error. Missing data is `{}`."""
    if not stored:
        return Decoded({})
    try:
        return Decoded(_deserialize(unpack(stored), serializer, "data"))
    except SerializationError as error:
        return Decoded({}, str(error))


def encode_result(value: Any, serializer: Serializer, *, job_id: str | None = None) -> str:
    """Serialize a return value; None is `null` whatever the serializer. Never compressed.

    Raises:
        SerializationError: the serializer cannot write it.
        PayloadTooLargeError: over 1048576 bytes.
    """
    if value is None:
        return "null"
    text = _serialize(value, serializer, "result", job_id)
    check_size(text, "result")
    return text


def decode_result(stored: bytes | str | None, serializer: Serializer) -> Decoded:
    """Read a return value; none, `null` and what cannot be read are None, the last with an error."""
    text = as_text(stored)
    if text in ("", "null"):
        return Decoded(None)
    try:
        return Decoded(_deserialize(text, serializer, "result"))
    except SerializationError as error:
        return Decoded(None, str(error))


def encode_progress(value: Any) -> str:
    """Write progress: a number as decimal text, anything else as JSON, whatever the serializer.

    Raises:
        SerializationError: not JSON.
        PayloadTooLargeError: over 1048576 bytes.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return number_text(value)
        except ValueError as error:
            _fail("progress", str(error))
    text = encode_json(value, "progress")
    check_size(text, "progress")
    return text


def decode_progress(stored: bytes | str | None) -> Any:
    """Read progress: a number, the value of a JSON text, or else the text itself. Missing is 0."""
    text = as_text(stored)
    if not text:
        return 0
    number = parse_number(text)
    if number is not None:
        return number
    try:
        return parse_json(text)
    except ValueError:
        return text


def encode_json(value: Any, what: str) -> str:
    """Write compact JSON.

    Raises:
        SerializationError: the value is not JSON.
    """
    try:
        return compact_json(value)
    except (TypeError, ValueError, RecursionError) as error:
        _fail(what, str(error))


def check_size(text: str | bytes, what: str) -> int:
    """Return the size in bytes of UTF-8.

    Raises:
        PayloadTooLargeError: over 1048576 bytes.
        SerializationError: text that UTF-8 cannot carry.
    """
    try:
        size = len(text) if isinstance(text, bytes) or text.isascii() else len(text.encode())
    except UnicodeEncodeError:
        _fail(what, "half a surrogate pair, which UTF-8 cannot carry")
    if size > MAX_PAYLOAD_BYTES:
        refuse_size(what, size, hint="store it elsewhere and put a reference into the job")
    return size


def refuse_size(
    what: str,
    size: int,
    *,
    limit: int = MAX_PAYLOAD_BYTES,
    option: str | None = None,
    message: str | None = None,
    hint: str | None = None,
) -> NoReturn:
    """Raise PayloadTooLargeError for `size` bytes of something that may have `limit`."""
    raise PayloadTooLargeError(
        message or f"{what} is too large: {size} bytes, at most {limit}",
        hint=hint,
        option=option or what,
        value=None,
        allowed=f"at most {limit} bytes",
        what=what,
        size_bytes=size,
        limit_bytes=limit,
    )


def unpack(stored: bytes | str, *, strict: bool = False) -> str:
    """Return stored data as serialized text, gunzipped if it starts with `gz:`.

    Args:
        strict: refuse base64 that readers take for different bytes, for they skip different characters.
    Raises:
        SerializationError: not base64, not gzip, or more than 1 MiB of output.
    """
    text = as_text(stored)
    if not text.startswith(_COMPRESSED):
        return text
    try:
        packed = binascii.a2b_base64(text[len(_COMPRESSED) :].encode(), strict_mode=strict)
        return _gunzip(packed).decode("utf-8", "replace")
    except (binascii.Error, zlib.error, EOFError, gzip.BadGzipFile) as error:
        _fail("data", f"broken compressed data: {error}")


def json_list(stored: bytes | str | None) -> list[Any]:
    """Read a JSON array; anything else is empty."""
    try:
        value = parse_json(stored) if stored else []
    except ValueError:
        return []
    return value if isinstance(value, list) else []


def _serialize(value: Any, serializer: Serializer, what: str, job_id: str | None) -> str:
    try:
        text = serializer.serialize(value)
    except Exception as error:  # noqa: BLE001 - a serializer of the caller may raise anything
        _fail(what, str(error) or type(error).__name__, job_id, error, hint=_OTHER_SERIALIZER)
    if not isinstance(text, str):
        _fail(what, f"the serializer returned {type(text).__name__}, not text", job_id)
    return text


def _deserialize(text: str, serializer: Serializer, what: str) -> Any:
    try:
        return serializer.deserialize(text)
    except Exception as error:  # noqa: BLE001 - a serializer of the caller may raise anything
        _fail(what, str(error) or type(error).__name__, None, error)


def _gunzip(packed: bytes) -> bytes:
    """Unpack no more than the limit, whatever the input promises."""
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as stream:
        unpacked = stream.read(MAX_PAYLOAD_BYTES + 1)
    if len(unpacked) > MAX_PAYLOAD_BYTES:
        _fail("data", f"unpacks to more than {MAX_PAYLOAD_BYTES} bytes")
    return unpacked


def _fail(
    what: str,
    reason: str,
    job_id: str | None = None,
    cause: BaseException | None = None,
    *,
    hint: str | None = None,
) -> NoReturn:
    raise SerializationError(f"{what}: {reason}", what=what, job_id=job_id, hint=hint) from cause
