"""What a collection holds: Field and Schema."""

from __future__ import annotations

import json
from ctypes import sizeof
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple, Union

from . import _library as c
from ._errors import InvalidError, NotFoundError
from ._types import DataType, data_type

#: The hidden JSON field that keeps the keys of a dynamic collection.
META = "$meta"


class Field:
    """One field of a collection.

    vecdb.Field("id", "INT64", primary_key=True)
    vecdb.Field("title", "VARCHAR", max_length=200, nullable=True)
    vecdb.Field("embedding", "FLOAT_VECTOR", dim=384)
    vecdb.Field("terms", "SPARSE_FLOAT_VECTOR")
    """

    __slots__ = (
        "name",
        "type",
        "primary_key",
        "auto_id",
        "nullable",
        "partition_key",
        "dim",
        "max_length",
        "max_capacity",
        "element_type",
        "default",
        "description",
    )

    def __init__(
        self,
        name: str,
        type: Union[str, int, DataType],
        *,
        primary_key: bool = False,
        auto_id: bool = False,
        nullable: bool = False,
        partition_key: bool = False,
        dim: int = 0,
        max_length: int = 0,
        max_capacity: int = 0,
        element_type: Union[str, int, DataType, None] = None,
        default: Any = None,
        description: str = "",
    ) -> None:
        self.name = name
        self.type = data_type(type)
        self.primary_key = bool(primary_key)
        self.auto_id = bool(auto_id)
        self.nullable = bool(nullable)
        self.partition_key = bool(partition_key)
        self.dim = _count("dim", f"field {name!r}", dim)
        self.max_length = _count("max_length", f"field {name!r}", max_length)
        self.max_capacity = _count("max_capacity", f"field {name!r}", max_capacity)
        self.element_type = DataType.NONE if element_type is None else data_type(element_type)
        #: Value used when one is missing; None for none.
        self.default = default
        self.description = description

    def __repr__(self) -> str:
        parts = [repr(self.name), repr(self.type.name)]
        for option in ("primary_key", "auto_id", "nullable", "partition_key"):
            if getattr(self, option):
                parts.append(f"{option}=True")
        for option in ("dim", "max_length", "max_capacity"):
            if getattr(self, option):
                parts.append(f"{option}={getattr(self, option)}")
        if self.element_type:
            parts.append(f"element_type={self.element_type.name!r}")
        if self.default is not None:
            parts.append(f"default={self.default!r}")
        if self.description:
            parts.append(f"description={self.description!r}")
        return f"Field({', '.join(parts)})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Field):
            return NotImplemented
        return all(getattr(self, slot) == getattr(other, slot) for slot in self.__slots__)

    __hash__ = None  # type: ignore[assignment]

    def to_struct(self, out: c.FieldStruct) -> None:
        """Fill the C struct. ctypes keeps the texts alive with it."""
        out.name = c.text(self.name)
        out.type = int(self.type)
        out.flags = (
            (c.PRIMARY_KEY if self.primary_key else 0)
            | (c.AUTO_ID if self.auto_id else 0)
            | (c.NULLABLE if self.nullable else 0)
            | (c.PARTITION_KEY if self.partition_key else 0)
        )
        out.dim = self.dim
        out.max_length = self.max_length
        out.max_capacity = self.max_capacity
        out.element_type = int(self.element_type)
        out.default_value = None if self.default is None else json.dumps(self.default).encode()
        out.description = c.text(self.description) if self.description else None

    @classmethod
    def from_struct(cls, struct: c.FieldStruct) -> "Field":
        """A field out of C's description of it."""
        return cls(
            struct.name.decode(),
            struct.type,
            primary_key=bool(struct.flags & c.PRIMARY_KEY),
            auto_id=bool(struct.flags & c.AUTO_ID),
            nullable=bool(struct.flags & c.NULLABLE),
            partition_key=bool(struct.flags & c.PARTITION_KEY),
            dim=struct.dim,
            max_length=struct.max_length,
            max_capacity=struct.max_capacity,
            element_type=struct.element_type or None,
            default=json.loads(struct.default_value) if struct.default_value else None,
            description=(struct.description or b"").decode(),
        )


def _count(what: str, owner: str, value: Any, room: int = 2**32) -> int:
    try:
        number = int(value or 0)
    except (TypeError, ValueError):
        raise InvalidError(f"{owner}: {what} must be a number, got {value!r}") from None
    if isinstance(value, bool) or not 0 <= number < room:
        raise InvalidError(f"{owner}: {what} is {value!r}")
    return number


class Schema:
    """Fields, and whether keys that are no field are kept too (dynamic=True).

    ttl_field       an INT64 field: seconds since 1970 when a row expires
    num_partitions  with a partition key: how many partitions it spreads rows over; 0 for 16
    ttl_seconds     how long after they were inserted or upserted rows expire; 0: never
    """

    __slots__ = ("fields", "dynamic", "description", "ttl_field", "num_partitions", "ttl_seconds", "_by_name", "primary")

    def __init__(
        self,
        fields: Iterable[Field],
        *,
        dynamic: bool = False,
        description: str = "",
        ttl_field: Optional[str] = None,
        num_partitions: int = 0,
        ttl_seconds: int = 0,
    ) -> None:
        self.fields: List[Field] = list(fields)
        for field in self.fields:
            if not isinstance(field, Field):
                raise TypeError(f"expected vecdb.Field, got {type(field).__name__}: {field!r}")
        self.dynamic = bool(dynamic)
        self.description = description
        self.ttl_field = ttl_field
        self.num_partitions = num_partitions
        self.ttl_seconds = ttl_seconds
        self._by_name: Dict[str, Field] = {field.name: field for field in self.fields}
        #: The primary key's field; None until there is one.
        self.primary: Optional[Field] = next((f for f in self.fields if f.primary_key), None)

    def __repr__(self) -> str:
        lines = ",\n    ".join(map(repr, self.fields))
        return f"Schema([\n    {lines}\n], dynamic={self.dynamic})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Schema):
            return NotImplemented
        return (
            self.fields == other.fields and self.dynamic == other.dynamic and self.description == other.description
        )

    __hash__ = None  # type: ignore[assignment]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> Field:
        try:
            return self._by_name[name]
        except KeyError:
            raise NotFoundError(self._no_field(name)) from None

    def get(self, name: str) -> Optional[Field]:
        """The field of a name, or None."""
        return self._by_name.get(name)

    def vector_fields(self) -> List[Field]:
        """The fields that hold vectors."""
        return [field for field in self.fields if field.type.is_vector]

    def _no_field(self, name: str) -> str:
        import difflib

        near = difflib.get_close_matches(str(name), list(self._by_name), 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"no field {name!r}{hint} (fields: {', '.join(self._by_name)})"

    def to_struct(self, name: str) -> Tuple[c.SchemaStruct, Any]:
        """The C struct, and what must be kept as long as it is used."""
        fields = (c.FieldStruct * max(1, len(self.fields)))()
        for field, struct in zip(self.fields, fields):
            field.to_struct(struct)
        schema = c.SchemaStruct()
        schema.size = sizeof(c.SchemaStruct)
        schema.field_size = sizeof(c.FieldStruct)
        schema.name = c.text(name)
        schema.description = c.text(self.description) if self.description else None
        schema.fields = fields
        schema.field_count = len(self.fields)
        schema.dynamic = self.dynamic
        schema.ttl_field = c.text(self.ttl_field) if self.ttl_field else None
        schema.num_partitions = _count("num_partitions", f"collection {name!r}", self.num_partitions)
        schema.ttl_seconds = _count("ttl_seconds", f"collection {name!r}", self.ttl_seconds, 2**64)
        return schema, fields

    @classmethod
    def from_struct(cls, struct: c.SchemaStruct) -> "Schema":
        """A schema out of C's description of it."""
        fields = [Field.from_struct(struct.fields[i]) for i in range(struct.field_count)]
        return cls(
            [field for field in fields if field.name != META],
            dynamic=struct.dynamic,
            description=(struct.description or b"").decode(),
            ttl_field=struct.ttl_field.decode() if struct.ttl_field else None,
            num_partitions=struct.num_partitions,
            ttl_seconds=struct.ttl_seconds,
        )


class Param(NamedTuple):
    """A parameter that an index kind knows."""

    index_type: str
    name: str
    meaning: str
    choices: Sequence[str]
    low: float
    high: float
    default: float
    for_search: bool
