"""Types of fields, metrics, and how values of each are laid out."""

from __future__ import annotations

import enum
import operator
import sys
from typing import Any, Dict, NamedTuple, Optional, Union

from ._errors import InvalidError


class DataType(enum.IntEnum):
    """Types of fields. The numbers are those of the C library, and Milvus'."""

    NONE = 0
    BOOL = 1
    INT8 = 2
    INT16 = 3
    INT32 = 4
    INT64 = 5
    FLOAT = 10
    DOUBLE = 11
    VARCHAR = 21
    ARRAY = 22
    JSON = 23
    BINARY_VECTOR = 100
    FLOAT_VECTOR = 101
    FLOAT16_VECTOR = 102
    BFLOAT16_VECTOR = 103
    SPARSE_FLOAT_VECTOR = 104
    INT8_VECTOR = 105

    @property
    def is_vector(self) -> bool:
        """Whether it is one of the vector types."""
        return self >= 100

    @property
    def is_integer(self) -> bool:
        """Whether it is INT8, INT16, INT32 or INT64."""
        return DataType.INT8 <= self <= DataType.INT64


class Metric(enum.IntEnum):
    """Metrics. L2 is squared, COSINE a similarity; for IP and COSINE larger is nearer."""

    DEFAULT = 0
    L2 = 1
    IP = 2
    COSINE = 3
    HAMMING = 4
    JACCARD = 5

    @property
    def larger_is_nearer(self) -> bool:
        """Whether a larger value means nearer: IP and COSINE."""
        return self in (Metric.IP, Metric.COSINE)


class Layout(NamedTuple):
    """How a fixed-width value is kept: struct/array typecode, bytes, numpy dtype name, range of integers."""

    code: str
    size: int
    dtype: str
    low: int = 0
    high: int = 0


LAYOUTS: Dict[int, Layout] = {
    DataType.BOOL: Layout("B", 1, "bool"),
    DataType.INT8: Layout("b", 1, "int8", -(2**7), 2**7 - 1),
    DataType.INT16: Layout("h", 2, "int16", -(2**15), 2**15 - 1),
    DataType.INT32: Layout("i", 4, "int32", -(2**31), 2**31 - 1),
    DataType.INT64: Layout("q", 8, "int64", -(2**63), 2**63 - 1),
    DataType.FLOAT: Layout("f", 4, "float32"),
    DataType.DOUBLE: Layout("d", 8, "float64"),
    DataType.BINARY_VECTOR: Layout("B", 1, "uint8"),
    DataType.FLOAT_VECTOR: Layout("f", 4, "float32"),
    DataType.FLOAT16_VECTOR: Layout("H", 2, "float16"),
    DataType.BFLOAT16_VECTOR: Layout("H", 2, "uint16"),
    DataType.INT8_VECTOR: Layout("b", 1, "int8", -128, 127),
}


def vector_bytes(dtype: int, dim: int) -> int:
    """Bytes of one vector."""
    return dim // 8 if dtype == DataType.BINARY_VECTOR else dim * LAYOUTS[dtype].size


def data_type(value: Union[str, int, DataType]) -> DataType:
    """A type from its name (any case), number or enum, this library's or Milvus'."""
    try:
        if isinstance(value, str):
            return DataType[value.upper()]
        return DataType(operator.index(value))
    except (KeyError, ValueError, TypeError):
        names = ", ".join(t.name for t in DataType if t)
        raise InvalidError(f"no field type {value!r}; there are {names}") from None


def metric(value: Union[str, int, Metric, None]) -> Metric:
    """A metric from its name (any case), number or enum; None and "" mean the default."""
    if value is None or value == "":
        return Metric.DEFAULT
    try:
        if isinstance(value, str):
            return Metric[value.upper()]
        return Metric(operator.index(value))
    except (KeyError, ValueError, TypeError):
        names = ", ".join(m.name for m in Metric if m)
        raise InvalidError(f"no metric {value!r}; there are {names}") from None


_numpy_module: Any = None
_numpy_asked = False


def numpy() -> Optional[Any]:
    """The numpy module, or None where it is not installed. Imported on first use: it takes longer than all of vecdb."""
    global _numpy_module, _numpy_asked
    if not _numpy_asked:
        import os

        if os.environ.get("VECDB_NO_NUMPY"):
            _numpy_module = None
        else:
            try:
                import numpy as module

                _numpy_module = module
            except ImportError:
                _numpy_module = None
        _numpy_asked = True
    return _numpy_module


def is_array_like(value: Any) -> bool:
    """Whether numpy can take it without looking at each element."""
    return (
        type(value).__name__ == "ndarray"  # asking it for an interface makes one
        or hasattr(value, "__array_interface__")
        or hasattr(value, "__dlpack__")
        or hasattr(value, "__array__")
        or (isinstance(value, (memoryview,)) or type(value).__module__ == "array")
    )


def as_array(value: Any) -> Any:
    """A numpy array over the value's own memory where that is possible. Needs numpy."""
    np = numpy()
    assert np is not None
    if isinstance(value, np.ndarray):
        return value
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        value = value.detach()
        if value.dtype == torch.bfloat16:  # numpy has no such type: hand the bits over, under a name of our own
            return value.cpu().view(torch.int16).numpy().view("uint16").view(BFloat16Bits(np))
        return value.cpu().numpy()
    if hasattr(value, "__array_interface__"):
        return np.asarray(value)
    if hasattr(value, "__dlpack__") and hasattr(np, "from_dlpack"):
        try:
            return np.from_dlpack(value)
        except (TypeError, BufferError, RuntimeError):
            pass
    return np.asarray(value)


_bits: Any = None


def BFloat16Bits(np: Any) -> Any:
    """A numpy dtype that marks 16 bits as a bfloat16 where ml_dtypes is not installed."""
    global _bits
    if _bits is None:
        _bits = np.dtype([("bfloat16", np.uint16)])
    return _bits


def is_bfloat16(dtype: Any) -> bool:
    """Whether a numpy dtype holds bfloat16: ml_dtypes' or the one above."""
    return bool(dtype.type.__name__ == "bfloat16" or dtype.names == ("bfloat16",))
