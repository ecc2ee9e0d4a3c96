"""Parse plain options without pydantic, which typer loads for them: that takes longer than all the rest of a start."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from typer.core import TyperCommand, TyperGroup


class _PlainParam:
    """Convert text, whole numbers, choices and what has a parser; everything else is left to typer."""

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        many = param.multiple or param.nargs == -1
        if value is None:
            return () if many else None
        info, kind = param.type_descriptor.parameter_info, param.type_descriptor.annotation
        parser = getattr(info, "parser", None)
        if parser is not None and isinstance(value, str):
            return parser(value)
        if parser is None and many and kind == list[str] and all(isinstance(text, str) for text in value):
            return list(value)
        if isinstance(kind, type) and not many:
            if type(value) is kind:  # text, or a default
                return value
            if issubclass(kind, StrEnum) and value in list(kind):
                return kind(value)
            if kind is int and isinstance(value, str) and re.fullmatch("[0-9]{1,15}", value):
                number = int(value)
                if (info.min is None or number >= info.min) and (info.max is None or number <= info.max):
                    return number
        from typer import _coercion

        return _coercion.build_runtime_param(param.type_descriptor).coerce(value, param=param, ctx=ctx)


def _without_pydantic(params: Sequence[Any]) -> Sequence[Any]:
    for param in params:
        # Only where typer defers the conversion; other versions of it convert as they always did.
        if getattr(param, "_runtime_param", param) is None:
            param._runtime_param = _PlainParam()
    return params


def _write_examples(lines: str | None, formatter: Any) -> None:
    """Show examples line by line: wrapped, none of them could be copied."""
    if lines:
        with formatter.section("Examples"):
            for line in lines.splitlines():
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class LightGroup(TyperGroup):
    """A group whose plain options are parsed without pydantic, and whose help ends with examples."""

    def get_params(self, ctx: Any) -> Any:
        return _without_pydantic(super().get_params(ctx))

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        _write_examples(self.epilog, formatter)


class LightCommand(TyperCommand):
    """A command whose plain options are parsed without pydantic; its help shows no Python types, and examples."""

    def get_params(self, ctx: Any) -> Any:
        return _without_pydantic(super().get_params(ctx))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        params: list[Any] = [param for param in self.params if param.param_type_name == "argument"]
        for param in params:
            if param.metavar:
                param.display_type_rich = lambda ctx: None
        super().format_options(ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        _write_examples(self.epilog, formatter)
