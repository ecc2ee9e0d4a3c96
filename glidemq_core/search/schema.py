"""Schema of a search index: its fields and its vector, and how both are stored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Final

from ..errors import GlideMQError
from ..options.fields import flag, one_of, refuse, text, whole
from ..wire.strict_json import compact_json, parse_json
from .vectors import field_name, vector_name

#: Longest vector a search module takes.
MAX_DIMENSIONS: Final = 32_768


@dataclass(frozen=True, slots=True)
class _NamedField:
    kind: ClassVar = ""
    name: str

    def __post_init__(self) -> None:
        field_name(self.name)

    def words(self) -> list[str]:
        """Return the arguments of FT.CREATE for the field."""
        return [self.name, self.kind]


@dataclass(frozen=True, slots=True)
class TagField(_NamedField):
    """Field of one or more tags, compared as a whole, without regard to case unless `case_sensitive`."""

    kind: ClassVar = "TAG"
    separator: str = ","
    case_sensitive: bool = False

    def __post_init__(self) -> None:
        field_name(self.name)
        flag(self.case_sensitive, "case_sensitive")
        if len(text(self.separator, "separator")) != 1 or not self.separator.isascii():
            refuse("separator", self.separator, "one ASCII character")

    def words(self) -> list[str]:
        words = [self.name, self.kind]
        if self.separator != ",":
            words += ["SEPARATOR", self.separator]
        return [*words, "CASESENSITIVE"] if self.case_sensitive else words


@dataclass(frozen=True, slots=True)
class NumericField(_NamedField):
    """Field that holds a number."""

    kind: ClassVar = "NUMERIC"


@dataclass(frozen=True, slots=True)
class TextField(_NamedField):
    """Field of running text; only a search module can filter by it."""

    kind: ClassVar = "TEXT"


@dataclass(frozen=True, slots=True)
class VectorField(_NamedField):
    """Field of float32 vectors.

    Args:
        dimensions: numbers in each vector, 1 to 32768.
        algorithm: `HNSW` (approximate, fast) or `FLAT`; exact search knows no difference.
        distance_metric: `COSINE` (1 - cos), `L2` (squared Euclidean) or `IP` (1 - dot product).
    """

    kind: ClassVar = "VECTOR"
    dimensions: int
    algorithm: str = "HNSW"
    distance_metric: str = "COSINE"

    def __post_init__(self) -> None:
        field_name(self.name)
        whole(1, MAX_DIMENSIONS)(self.dimensions, "dimensions")
        one_of("HNSW", "FLAT")(self.algorithm, "algorithm")
        one_of("COSINE", "L2", "IP")(self.distance_metric, "distance_metric")

    @property
    def bytes(self) -> int:
        """Length of a stored vector."""
        return 4 * self.dimensions

    def words(self) -> list[str]:
        attributes = ["TYPE", "FLOAT32", "DIM", str(self.dimensions)]
        attributes += ["DISTANCE_METRIC", self.distance_metric]
        return [self.name, self.kind, self.algorithm, str(len(attributes)), *attributes]


Field = TagField | NumericField | TextField

#: What every index covers of a job, first and in this order.
BASE_FIELDS: Final[tuple[Field, ...]] = (
    TagField("name"),
    TagField("state"),
    NumericField("timestamp"),
    NumericField("priority"),
)
#: Stands in for the vector of an index that was made without one.
_PLACEHOLDER = VectorField("_vec", 2, "FLAT")
_KINDS: dict[str, type[Field]] = {kind.kind: kind for kind in (TagField, NumericField, TextField)}


@dataclass(frozen=True, slots=True)
class Schema:
    """Fields of an index, the base fields first, and its vector."""

    fields: tuple[Field, ...]
    vector: VectorField

    @classmethod
    def of(cls, fields: Any, vector_field: Any) -> Schema:
        """Check what a caller wants indexed. Raises InvalidOptionError."""
        if isinstance(fields, str) or not isinstance(fields, Iterable):
            refuse("fields", fields, "a sequence of TagField, NumericField and TextField")
        chosen = tuple(fields)
        for field in chosen:
            if not isinstance(field, (TagField, NumericField, TextField)):
                refuse("fields", field, "TagField, NumericField and TextField")
        if vector_field is not None:
            if not isinstance(vector_field, VectorField):
                refuse("vector_field", vector_field, "a VectorField")
            vector_name(vector_field.name, "vector_field")
        schema = cls((*BASE_FIELDS, *chosen), vector_field or _PLACEHOLDER)
        seen: set[str] = set()
        for name in [*(field.name for field in schema.fields), schema.vector.name]:
            if name in seen:
                refuse("fields", name, "each name once", f"index field '{name}' is there twice")
            seen.add(name)
        return schema

    def words(self) -> list[str]:
        """Return the arguments of FT.CREATE for the schema."""
        return [word for field in (*self.fields, self.vector) for word in field.words()]

    def to_json(self) -> str:
        """Write the schema as JSON."""
        fields = []
        for field in self.fields:
            name, *rest = asdict(field).items()
            fields.append(dict([name, ("type", field.kind), *rest]))
        return compact_json({"fields": fields, "vector": asdict(self.vector)})

    @classmethod
    def from_json(cls, stored: bytes, index: str) -> Schema:
        """Read a stored schema. Raises GlideMQError when it is damaged."""
        try:
            raw = parse_json(stored)
            given = [dict(item) for item in raw["fields"]]
            fields = tuple(_KINDS[item.pop("type")](**item) for item in given)
            return cls(fields, VectorField(**raw["vector"]))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise GlideMQError(
                f"the record of search index '{index}' cannot be read", hint="drop it and create it again"
            ) from error
