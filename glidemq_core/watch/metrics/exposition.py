"""The text format of Prometheus, version 0.0.4."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Most characters of a label's value: names of queues are as long as their makers like.
_LABEL_CAP = 256
_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", '"': '\\"'})


@dataclass(slots=True)
class Family:
    """One metric with a sample for each combination of labels."""

    name: str
    kind: Literal["gauge", "counter"]
    help: str
    samples: list[tuple[tuple[tuple[str, str], ...], float]] = field(default_factory=list)

    def add(self, value: float | None, **labels: str) -> None:
        """Add a sample; None, for what is not known, adds none."""
        if value is not None:
            self.samples.append((tuple(labels.items()), value))


def render(families: Iterable[Family]) -> str:
    """Write families that have samples, each with its help and type; of equal labels the first sample counts."""
    lines: list[str] = []
    for family in families:
        if not family.samples:
            continue
        lines.append(f"# HELP {family.name} {family.help}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        seen: dict[str, float] = {}
        for labels, value in family.samples:
            seen.setdefault(_labels(dict(labels)), value)
        lines += [f"{family.name}{labels} {_number(value)}" for labels, value in seen.items()]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_value(value)}"' for name, value in labels.items()) + "}"


def _value(text: str) -> str:
    """Escape a label's value, which may come from anybody; what is no text in UTF-8 becomes a replacement mark."""
    clean = text.encode("utf-8", "replace").decode("utf-8")
    return clean[:_LABEL_CAP].translate(_ESCAPES)


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))
