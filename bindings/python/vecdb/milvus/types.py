"""Enums and small value types with pymilvus' names."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Dict, Iterable, List, Union


class DataType(IntEnum):
    """Types of fields. Those vecdb does not have are here too, so that programs can name them."""

    NONE = 0
    BOOL = 1
    INT8 = 2
    INT16 = 3
    INT32 = 4
    INT64 = 5
    FLOAT = 10
    DOUBLE = 11
    STRING = 20
    VARCHAR = 21
    ARRAY = 22
    JSON = 23
    GEOMETRY = 24
    TEXT = 25
    TIMESTAMPTZ = 26
    BINARY_VECTOR = 100
    FLOAT_VECTOR = 101
    FLOAT16_VECTOR = 102
    BFLOAT16_VECTOR = 103
    SPARSE_FLOAT_VECTOR = 104
    INT8_VECTOR = 105
    STRUCT = 201
    UNKNOWN = 999

    def __str__(self) -> str:
        return str(self.value)


VECTOR_TYPES = (
    DataType.BINARY_VECTOR,
    DataType.FLOAT_VECTOR,
    DataType.FLOAT16_VECTOR,
    DataType.BFLOAT16_VECTOR,
    DataType.SPARSE_FLOAT_VECTOR,
    DataType.INT8_VECTOR,
)


class FunctionType(IntEnum):
    """Kinds of functions."""

    UNKNOWN = 0
    BM25 = 1
    TEXTEMBEDDING = 2
    RERANK = 3
    MINHASH = 4


class IndexType(IntEnum):
    """Index kinds by number, as pymilvus has them."""

    INVALID = 0
    FLAT = 1
    IVFLAT = 2
    IVF_SQ8 = 3
    RNSG = 4
    IVF_SQ8H = 5
    IVF_PQ = 6
    HNSW = 11
    ANNOY = 12
    IVF_FLAT = 2

    def __str__(self) -> str:
        return str(self.name)


class MetricType(IntEnum):
    INVALID = 0
    L2 = 1
    IP = 2
    HAMMING = 3
    JACCARD = 4
    TANIMOTO = 5
    SUBSTRUCTURE = 6
    SUPERSTRUCTURE = 7
    COSINE = 8


class LoadState(IntEnum):
    """Whether a collection can be searched."""

    NotExist = 0
    NotLoad = 1
    Loading = 2
    Loaded = 3

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.name}>"

    def __str__(self) -> str:
        return self.name


class ConsistencyLevel(IntEnum):
    """Levels that Milvus knows. vecdb is always Strong: a read sees every write before it."""

    Strong = 0
    Session = 1
    Bounded = 2
    Eventually = 3
    Customized = 4

    @classmethod
    def of(cls, value: Union[str, int, None]) -> "ConsistencyLevel":
        """A level from its name, number or enum."""
        from .exceptions import InvalidConsistencyLevel

        if value is None or value == "":
            return cls.Bounded
        try:
            return cls[value] if isinstance(value, str) else cls(int(value))
        except (KeyError, ValueError):
            raise InvalidConsistencyLevel(1, f"invalid consistency level: {value}") from None

    @classmethod
    def Name(cls, value: int) -> str:
        """Name of a level's number."""
        return cls(value).name

    @classmethod
    def Value(cls, name: str) -> int:
        """Number of a level's name."""
        return int(cls[name])


class BulkInsertState(IntEnum):
    """A name that programs import; vecdb has no bulk insert jobs."""

    ImportPending = 0
    ImportFailed = 1
    ImportStarted = 2
    ImportPersisted = 5
    ImportCompleted = 6
    ImportFailedAndCleaned = 7


class CompactionState(IntEnum):
    UndefiedState = 0
    Executing = 1
    Completed = 2


class IndexState(IntEnum):
    IndexStateNone = 0
    Unissued = 1
    InProgress = 2
    Finished = 3
    Failed = 4


class OmitZeroDict(Dict[str, Any]):
    """A dict that leaves zeros out of its text."""

    def omit_zero_len(self) -> int:
        """How many entries are not zero."""
        return len([value for value in self.values() if value])

    def __str__(self) -> str:
        return str({key: value for key, value in self.items() if value})

    def __repr__(self) -> str:
        return str(dict(self))


class FieldOpType(IntEnum):
    """What a partial update does with a field's value."""

    REPLACE = 0
    ARRAY_APPEND = 1
    ARRAY_REMOVE = 2


class FieldOp:
    """What upsert(field_ops={name: ...}) does with an array that is stored already; names as text are taken, too."""

    @staticmethod
    def replace() -> FieldOpType:
        """The new value takes the old one's place."""
        return FieldOpType.REPLACE

    @staticmethod
    def array_append() -> FieldOpType:
        """The elements are added at the end."""
        return FieldOpType.ARRAY_APPEND

    @staticmethod
    def array_remove() -> FieldOpType:
        """Every element that is among these is taken out."""
        return FieldOpType.ARRAY_REMOVE

    @staticmethod
    def of(field: str, value: Any) -> FieldOpType:
        """An operation from its name, number or enum."""
        try:
            if isinstance(value, str):
                return FieldOpType[value.upper()]
            if not isinstance(value, bool):
                return FieldOpType(value)
        except (KeyError, ValueError):
            pass
        from .exceptions import ParamError

        raise ParamError(message=f"unknown field_op {value!r} for field {field!r}")


class Status:
    """What a call without a result returns."""

    SUCCESS = 0
    UNEXPECTED_ERROR = 1

    def __init__(self, code: int = 0, message: str = "Success") -> None:
        self.code = code
        self.message = message

    def __repr__(self) -> str:
        return f"Status(code={self.code}, message={self.message})"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, int):
            return self.code == other
        return isinstance(other, Status) and self.code == other.code

    __hash__ = None  # type: ignore[assignment]

    def OK(self) -> bool:
        """Whether the code says that nothing went wrong."""
        return self.code == self.SUCCESS


class Shard:
    """A name that programs import; there are no shards."""

    def __init__(self, channel_name: str, shard_nodes: Iterable[int], shard_leader: int) -> None:
        self.channel_name = channel_name
        self.shard_nodes = set(shard_nodes)
        self.shard_leader = shard_leader

    def __repr__(self) -> str:
        return f"Shard: <channel_name:{self.channel_name}>, <shard_leader:{self.shard_leader}>, <shard_nodes:{self.shard_nodes}>"


class Group:
    """One replica: this process."""

    def __init__(self, group_id: int = 1, shards: Iterable[Shard] = (), group_nodes: Iterable[int] = (1,)) -> None:
        self.id = group_id
        self.shards: List[Shard] = list(shards)
        self.group_nodes = tuple(group_nodes)
        self.resource_group = "__default_resource_group"
        self.num_outbound_node: Dict[str, int] = {}

    def __repr__(self) -> str:
        return f"Group: <group_id:{self.id}>, <group_nodes:{self.group_nodes}>, <shards:{self.shards}>"


class Replica:
    """A name that programs import; there are no replicas."""

    def __init__(self, groups: Iterable[Group] = ()) -> None:
        self.groups: List[Group] = list(groups)

    def __repr__(self) -> str:
        return "Replica groups:\n" + "\n".join(f"- {group}" for group in self.groups)


class ResourceGroupInfo:
    """A name that programs import; there are no resource groups."""

    name = "__default_resource_group"
    capacity = 1
    num_available_node = 1


class HighlightType(IntEnum):
    LEXICAL = 0
    SEMANTIC = 1


def infer_dtype_bydata(data: Any) -> DataType:
    """The type of a value: a list of numbers is a FLOAT_VECTOR, other lists an ARRAY, a dict JSON."""
    if isinstance(data, bool) or type(data).__name__ in ("bool_", "bool"):
        return DataType.BOOL
    if isinstance(data, dict):
        return DataType.JSON
    if isinstance(data, str):
        return DataType.VARCHAR
    if isinstance(data, (bytes, bytearray)):
        return DataType.BINARY_VECTOR
    kind = getattr(getattr(data, "dtype", None), "name", None)
    shape = getattr(data, "shape", None)
    if kind is not None and shape == ():
        return {
            "int8": DataType.INT8,
            "int16": DataType.INT16,
            "int32": DataType.INT32,
            "int64": DataType.INT64,
            "float32": DataType.FLOAT,
            "float64": DataType.DOUBLE,
            "bool": DataType.BOOL,
        }.get(kind, DataType.UNKNOWN)
    if kind is not None:
        return {
            "float16": DataType.FLOAT16_VECTOR,
            "bfloat16": DataType.BFLOAT16_VECTOR,
            "int8": DataType.INT8_VECTOR,
            "uint8": DataType.BINARY_VECTOR,
        }.get(kind, DataType.FLOAT_VECTOR)
    if isinstance(data, int):
        return DataType.INT64
    if isinstance(data, float):
        return DataType.DOUBLE
    if isinstance(data, (list, tuple)):
        if not data:
            return DataType.UNKNOWN
        if all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in data):
            return DataType.FLOAT_VECTOR
        if all(isinstance(item, (str, bool)) for item in data):
            return DataType.ARRAY
        if all(type(item).__module__ == "numpy" for item in data):
            return DataType.FLOAT_VECTOR
    return DataType.UNKNOWN
