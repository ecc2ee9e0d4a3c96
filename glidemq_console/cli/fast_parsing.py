"""Reading plain options without the validation library that typer loads for them: a third of a command's start-up."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup


class _Plain:
    """Converts text, lists of text and what has a parser of its own; everything else is left to typer."""

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        many = param.multiple or param.nargs == -1
        if value is None:
            return () if many else None
        descriptor = param.type_descriptor
        parser = getattr(descriptor.parameter_info, "parser", None)
        if parser is not None and isinstance(value, str):
            return parser(value)
        texts = value if many else (value,)
        if (
            parser is None
            and descriptor.annotation in (str, list[str])
            and all(isinstance(t, str) for t in texts)
        ):
            return list(value) if many else value
        if descriptor.annotation is int and type(value) is int:  # a default: nobody typed it
            return value
        from typer import _coercion

        return _coercion.build_runtime_param(descriptor).coerce(value, param=param, ctx=ctx)


def _lighten(params: Any) -> None:
    for param in params:
        # Only where typer keeps a conversion to be made later; other versions convert as they always did.
        if getattr(param, "_runtime_param", param) is None:
            param._runtime_param = _Plain()


def _no_type(ctx: Any) -> None:
    """Say nothing where newer versions of typer write the Python type behind the name of an argument."""


class LightCommand(TyperCommand):
    """A command whose plain options cost nothing."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _lighten(self.params)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        params: list[Any] = [param for param in self.params if param.param_type_name == "argument"]
        for param in params:
            if param.metavar:
                param.display_type_rich = _no_type
        super().format_options(ctx, formatter)


class LightGroup(TyperGroup):
    """A group whose plain options cost nothing."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _lighten(self.params)
        return super().parse_args(ctx, args)
