"""Payloads by their annotation: dataclasses, TypedDicts and the like by msgspec, pydantic models by pydantic."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

#: Turns a JSON value into an object of the annotated type; raises PayloadError.
Decode = Callable[[Any], Any]
#: Turns what a handler returns into a JSON value.
Encode = Callable[[Any], Any]


class PayloadError(ValueError):
    """A JSON value does not fit its annotation; the text names the place."""


def decoder(annotation: Any) -> Decode | None:
    """Return what reads payloads of a type; None for `Any`, which takes everything as it is.

    Raises:
        TypeError: no payload can be of this type.
    """
    if annotation is Any:
        return None
    return _pydantic_decoder(annotation) if _is_model(annotation) else _msgspec_decoder(annotation)


def encoder(annotation: Any) -> Encode | None:
    """Return what writes results of a type; None for `Any`, which leaves them to the serializer."""
    if annotation is Any:
        return None
    if _is_model(annotation):
        from pydantic import TypeAdapter

        adapter: TypeAdapter[Any] = TypeAdapter(annotation)
        return lambda value: adapter.dump_python(value, mode="json")
    from msgspec import to_builtins

    return lambda value: to_builtins(_unfolded(value))


def _unfolded(value: Any) -> Any:
    """Turn dataclasses into maps: msgspec leaves out defaults that an object of its own making never got set."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _unfolded(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: _unfolded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_unfolded(item) for item in value]
    return value


def _is_model(annotation: Any) -> bool:
    """Tell whether a type is made of pydantic's; no model exists where pydantic was not imported."""
    pydantic = sys.modules.get("pydantic")
    if pydantic is None:
        return False
    inner = getattr(annotation, "__args__", ())
    is_model = isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel)
    return is_model or any(_is_model(one) for one in inner)


def _pydantic_decoder(annotation: Any) -> Decode:
    from pydantic import TypeAdapter, ValidationError

    adapter: TypeAdapter[Any] = TypeAdapter(annotation)

    def decode(value: Any) -> Any:
        try:
            return adapter.validate_python(value)
        except ValidationError as error:
            first = error.errors()[0]
            place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
            raise PayloadError(f"{first['msg']} at ${place}") from None

    return decode


def _msgspec_decoder(annotation: Any) -> Decode:
    import msgspec.inspect

    # Tells now, not with the first job, what no payload can be.
    if isinstance(msgspec.inspect.type_info(annotation), msgspec.inspect.CustomType):
        raise TypeError("msgspec cannot read it")

    def decode(value: Any) -> Any:
        try:
            return msgspec.convert(value, annotation)
        except msgspec.ValidationError as error:
            what, _, place = str(error).partition(" - at `")
            raise PayloadError(f"{what} at {place.removesuffix('`') or '$'}") from None

    return decode
