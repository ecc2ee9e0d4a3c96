"""Signals as they are stored: JSON whose `data` is a string that holds JSON text."""

from __future__ import annotations

import unicodedata
from typing import Any

from ..options.fields import UNSET, refuse, text
from ..wire.payload import MAX_PAYLOAD_BYTES, encode_json, refuse_size


def signal_name(name: Any) -> str:
    """Check the name of a signal: text without control characters; it may be empty."""
    if any(unicodedata.category(c) == "Cc" for c in text(name, "name")):
        refuse("name", name, "text without control characters")
    return str(name)


def signal_head(name: str, data: Any) -> str:
    """Encode a signal up to the value of `receivedAt`, which the server function appends.

    `data` stands in it as a string of JSON text, "" if there is none.

    Raises:
        InvalidOptionError: a control character in the name.
        SerializationError: the data is not JSON.
        PayloadTooLargeError: name and data together over 1 MiB.
    """
    encoded = "" if data is UNSET else encode_json(data, "signal data")
    size = len(signal_name(name).encode()) + len(encoded.encode())
    if size > MAX_PAYLOAD_BYTES:
        refuse_size("signal", size, option="data")
    pair = encode_json({"name": name, "data": encoded}, "signal")
    return pair[:-1] + ',"receivedAt":'
