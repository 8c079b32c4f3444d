"""Python values to the C library's columns, and back.

Going in, numpy arrays and other buffers are lent to C as they are when type and layout fit; everything else is packed
once. numpy is used where it is installed and never needed.
"""

from __future__ import annotations

import array
import ctypes
import json
import struct
import sys
from collections.abc import Mapping as MappingABC  # checked in C, where typing's goes through Python each time
from itertools import accumulate, chain
from operator import itemgetter
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from . import _library as c
from ._errors import DimError, FieldTypeError, InvalidError, LimitError
from ._schema import META, Field, Schema
from ._sparse import PAIR_BYTES, decode_sparse, encode_sparse, is_scipy
from ._types import LAYOUTS, DataType, as_array, is_array_like, is_bfloat16, numpy, vector_bytes


class Column:
    """Values of one field, ready for C. Addresses are plain integers; `keep` holds what they point into."""

    __slots__ = ("name", "type", "element_type", "dim", "stride", "data", "offsets", "valid", "rows", "width", "keep")

    def __init__(self, field: Field, rows: int) -> None:
        self.name = c.text(field.name)
        self.type: int = field.type
        self.element_type: int = field.element_type
        self.dim = field.dim if field.type.is_vector else 0
        self.rows = rows
        self.width = 0  # bytes a row, for fixed-width types
        self.stride = 0
        self.data = 0
        self.offsets = 0
        self.valid = 0
        self.keep: List[Any] = []

    def fill(self, out: c.ColumnStruct, first: int = 0) -> None:
        """Describe the rows from `first` on to C."""
        out.field = self.name
        out.type = self.type
        out.element_type = self.element_type
        out.dim = self.dim
        out.stride = self.stride
        if self.offsets:
            out.data = self.data
            out.offsets = self.offsets + first * 8
        else:
            out.data = self.data + first * (self.stride or self.width)
            out.offsets = None
        out.valid = self.valid + first if self.valid else None

    def bytes_between(self, first: int, last: int) -> int:
        """Bytes of values in rows [first, last)."""
        if not self.offsets:
            return (last - first) * self.width
        ends = ctypes.cast(self.offsets, ctypes.POINTER(ctypes.c_uint64))
        size = int(ends[last] - ends[first])
        if self.type == DataType.ARRAY:
            if self.element_type == DataType.VARCHAR:
                strings = ctypes.cast(self.data, ctypes.POINTER(c.StringStruct))
                return sum(int(strings[i].length) + 8 for i in range(ends[first], ends[last]))
            return size * LAYOUTS[self.element_type].size
        return size * PAIR_BYTES if self.type == DataType.SPARSE_FLOAT_VECTOR else size

    def lend(self, what: Any) -> int:
        """Keep an array.array, numpy array or bytes alive and return its address."""
        self.keep.append(what)
        return address_of(what)


def address_of(what: Any) -> int:
    """Address of the first byte of an array.array, a numpy array, bytes or a ctypes object."""
    if isinstance(what, array.array):
        return what.buffer_info()[0]
    if isinstance(what, (bytes, bytearray)):
        if isinstance(what, bytearray):
            return ctypes.addressof((ctypes.c_char * max(1, len(what))).from_buffer(what))
        return ctypes.cast(ctypes.c_char_p(what), ctypes.c_void_p).value or 0
    if isinstance(what, ctypes.Array):
        return ctypes.addressof(what)
    return int(what.ctypes.data)


# -- vectors -----------------------------------------------------------------------------------------------------


class Vectors(NamedTuple):
    """Vectors in memory: address, how many, bytes from one to the next (0: packed), their type, what keeps them."""

    address: int
    rows: int
    stride: int
    type: int
    keep: Any
    single: bool  # one vector was given, not a list of vectors
    offsets: int = 0  # sparse ones: address of where each begins


def _dim_error(field: Field, got: Any, row: Optional[int] = None) -> DimError:
    where = "" if row is None else f", row {row}"
    return DimError(f"field {field.name!r}{where}: vectors have dim {field.dim}, got {got}", row=row)


def _elements(field: Field) -> int:
    """Stored elements of a vector: bytes for binary ones."""
    return field.dim // 8 if field.type == DataType.BINARY_VECTOR else field.dim


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) or hasattr(value, "__float__") and not hasattr(value, "__len__")


def encode_vectors(field: Field, values: Any, *, query: bool = False) -> Vectors:
    """Vectors for a field from anything array-like, from lists of numbers, or from bytes."""
    np = numpy()
    if field.type == DataType.SPARSE_FLOAT_VECTOR:
        return _encode_sparse_queries(field, values)
    if isinstance(values, (bytes, bytearray)):
        return _encode_bytes(field, [values], True)
    if isinstance(values, (str, MappingABC)) or values is None:
        raise FieldTypeError(f"field {field.name!r}: expected vectors, got {type(values).__name__}")
    if np is not None and is_array_like(values):
        return _encode_array(field, as_array(values), query)
    if np is None and is_array_like(values):
        fast = _encode_buffer(field, values)
        if fast is not None:
            return fast
        values = values.tolist()
    rows = values if isinstance(values, (list, tuple)) else list(values)
    if rows and _is_number(rows[0]):
        return _encode_rows(field, [rows], True, query)
    return _encode_rows(field, rows, False, query)


def _encode_sparse_queries(field: Field, values: Any) -> Vectors:
    sparse = encode_sparse(field.name, values)
    if sparse.valid is not None:
        raise FieldTypeError(f"field {field.name!r}: query {sparse.valid.index(0)} is None")
    # an address is needed, also of nothing
    pairs = sparse.pairs if len(sparse.pairs) else array.array("I", [0, 0])
    keep = (pairs, sparse.offsets)
    return Vectors(address_of(pairs), sparse.rows, 0, field.type, keep, sparse.single, address_of(sparse.offsets))


def _encode_sparse_column(field: Field, values: Any) -> Column:
    sparse = encode_sparse(field.name, values)
    if sparse.single:
        raise FieldTypeError(f"field {field.name!r}: expected a list of sparse vectors, got one")
    column = Column(field, sparse.rows)
    column.data = column.lend(sparse.pairs)
    column.offsets = column.lend(sparse.offsets)
    if sparse.valid is not None:
        column.valid = column.lend(sparse.valid)
    return column


def _encode_bytes(field: Field, rows: Sequence[Any], single: bool) -> Vectors:
    if field.type == DataType.FLOAT_VECTOR:
        wanted = field.dim * 4
    else:
        wanted = vector_bytes(field.type, field.dim)
    for i, row in enumerate(rows):
        if not isinstance(row, (bytes, bytearray)):
            raise FieldTypeError(f"field {field.name!r}, row {i}: expected bytes, got {type(row).__name__}", row=i)
        if len(row) != wanted:
            raise DimError(
                f"field {field.name!r}, row {i}: a vector of dim {field.dim} has {wanted} bytes, got {len(row)}", row=i
            )
    data = bytes(rows[0]) if len(rows) == 1 else b"".join(rows)
    return Vectors(address_of(data), len(rows), 0, field.type, data, single)


def _encode_buffer(field: Field, values: Any) -> Optional[Vectors]:
    """A buffer of the field's own element type, without numpy. None when it has to be converted."""
    try:
        view = memoryview(values)
    except TypeError:
        return None
    layout = LAYOUTS[field.type]
    if view.format not in (layout.code, "@" + layout.code) or not view.c_contiguous or view.ndim > 2:
        return None
    count = _elements(field)
    shape = view.shape or (0,)
    width = shape[-1]
    if width != count:
        raise _dim_error(field, width)
    if view.readonly:
        data: Any = view.tobytes()
        return Vectors(address_of(data), len(view) if view.ndim == 2 else 1, 0, field.type, data, view.ndim == 1)
    held = (ctypes.c_char * max(1, view.nbytes)).from_buffer(view)
    rows = shape[0] if view.ndim == 2 else 1
    return Vectors(ctypes.addressof(held), rows, 0, field.type, held, view.ndim == 1)


def _encode_array(field: Field, arr: Any, query: bool) -> Vectors:
    np = numpy()
    assert np is not None
    if arr.dtype == object:
        return _encode_rows(field, list(arr), False, query)
    single = arr.ndim == 1
    if arr.ndim == 0 or arr.ndim > 2:
        raise _dim_error(field, f"an array of shape {arr.shape}")
    arr, given = _convert_elements(field, arr, query)
    if single:
        if arr.shape[0] == 0 and not query:
            arr = arr.reshape(0, _elements(field))
            single = False
        else:
            arr = arr.reshape(1, -1)
    count = _elements(field)
    if arr.shape[1] != count:
        got = arr.shape[1] * 8 if field.type == DataType.BINARY_VECTOR else arr.shape[1]
        raise _dim_error(field, got)
    size = arr.itemsize
    stride = arr.strides[0] if arr.shape[0] > 1 else 0
    if not arr.flags.aligned or (count > 1 and arr.strides[1] != size) or (arr.shape[0] > 1 and stride < count * size):
        arr = np.ascontiguousarray(arr)
        stride = 0
    if stride == count * size:
        stride = 0
    return Vectors(int(arr.ctypes.data), int(arr.shape[0]), int(stride), given, arr, single)


def _convert_elements(field: Field, arr: Any, query: bool) -> Tuple[Any, int]:
    """An array with elements that C takes for this field, and the vector type they are."""
    np = numpy()
    assert np is not None
    kind = arr.dtype.kind
    wanted: int = field.type
    if not arr.dtype.isnative:
        arr = arr.astype(arr.dtype.newbyteorder("="))
    if is_bfloat16(arr.dtype):
        bits = arr.view(np.uint16)
        if wanted == DataType.BFLOAT16_VECTOR:
            return bits, wanted
        arr = (bits.astype(np.uint32) << 16).view(np.float32)
        kind = "f"
    if wanted == DataType.BINARY_VECTOR:
        if kind == "b":
            if arr.shape[-1] != field.dim:
                raise _dim_error(field, arr.shape[-1])
            return np.packbits(arr, axis=-1), wanted
        if arr.dtype in (np.uint8, np.int8):
            return arr.view(np.uint8), wanted
        if kind in "iu" and (arr.size == 0 or (arr.min() >= 0 and arr.max() <= 255)):
            return arr.astype(np.uint8), wanted
        raise FieldTypeError(
            f"field {field.name!r}: BINARY_VECTOR takes uint8 arrays of dim/8, bool arrays of dim, or bytes; got {arr.dtype}"
        )
    if kind not in "fiu":
        raise FieldTypeError(f"field {field.name!r}: {field.type.name} cannot be made of {arr.dtype}")
    if wanted == DataType.INT8_VECTOR:
        if arr.dtype == np.int8:
            return arr, wanted
        if query and kind == "f":
            return arr.astype(np.float32, copy=False), int(DataType.FLOAT_VECTOR)
        if arr.size and not (arr.min() >= -128 and arr.max() <= 127 and (kind != "f" or (arr == np.rint(arr)).all())):
            raise FieldTypeError(f"field {field.name!r}: INT8_VECTOR elements are whole numbers from -128 to 127")
        return arr.astype(np.int8), wanted
    if wanted == DataType.FLOAT16_VECTOR and arr.dtype == np.float16:
        return arr, wanted
    if wanted == DataType.FLOAT_VECTOR or query:
        return _to_float32(field, arr), int(DataType.FLOAT_VECTOR)
    arr = _to_float32(field, arr)
    if wanted == DataType.FLOAT16_VECTOR:
        with np.errstate(over="ignore"):
            half = arr.astype(np.float16)
        if not np.isfinite(half).all() and np.isfinite(arr).all():
            raise InvalidError(f"field {field.name!r}: beyond the range of float16 (65504)")
        return half, wanted
    return _round_to_bfloat16(np, arr), wanted


def _to_float32(field: Field, arr: Any) -> Any:
    np = numpy()
    assert np is not None
    if arr.dtype == np.float32:
        return arr
    with np.errstate(over="ignore"):
        return arr.astype(np.float32)


def _round_to_bfloat16(np: Any, arr: Any) -> Any:
    """Nearest bfloat16, ties to even; a NaN stays one."""
    bits = np.ascontiguousarray(arr, dtype=np.float32).view(np.uint32)
    rounded = ((bits.astype(np.uint64) + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    rounded[np.isnan(arr)] = 0x7FC0
    return rounded


def _encode_rows(field: Field, rows: Sequence[Any], single: bool, query: bool) -> Vectors:
    """Vectors that came one by one."""
    np = numpy()
    if not rows:
        return Vectors(0, 0, 0, field.type, None, False)
    if isinstance(rows[0], (bytes, bytearray)):
        return _encode_bytes(field, rows, single)
    if np is not None:
        if isinstance(rows[0], np.ndarray) or is_array_like(rows[0]):
            arrays = [as_array(row) for row in rows]
            for i, one in enumerate(arrays):
                if one.ndim != 1 or one.shape[0] not in (_elements(field), field.dim):
                    raise _dim_error(field, one.shape[0] if one.ndim == 1 else f"an array of shape {one.shape}", i)
            return _encode_array(field, np.stack(arrays), query)._replace(single=single)
        _check_rows(field, rows)
        if field.type == DataType.FLOAT_VECTOR and set(map(type, rows)) <= {list, tuple}:
            return _pack_floats(field, rows, single)
        if field.type == DataType.BINARY_VECTOR:
            dtype: Any = np.bool_ if isinstance(rows[0][0], bool) or len(rows[0]) == field.dim else np.int64
        elif field.type == DataType.INT8_VECTOR and not query:
            dtype = np.float64
        else:
            dtype = np.float32
        try:
            with np.errstate(over="ignore"):
                arr = np.array(rows, dtype=dtype)
        except (TypeError, ValueError, OverflowError) as problem:
            raise _bad_elements(field, rows, problem) from None
        return _encode_array(field, arr, query)._replace(single=single)
    _check_rows(field, rows)
    try:
        data, given = _pack_rows(field, rows, query)
    except (TypeError, ValueError, OverflowError, struct.error) as problem:
        raise _bad_elements(field, rows, problem) from None
    return Vectors(address_of(data), len(rows), 0, given, data, single)


def _pack_floats(field: Field, rows: Sequence[Any], single: bool) -> Vectors:
    """Rows of numbers as float32. A row at a time by struct: np.array() of lists looks at every number twice."""
    np = numpy()
    assert np is not None
    arr = np.empty((len(rows), field.dim), np.float32)
    pack = struct.Struct(f"{field.dim}f").pack_into
    view, at, step = memoryview(arr).cast("B"), 0, 4 * field.dim
    try:
        for row in rows:
            pack(view, at, *row)
            at += step
    except (TypeError, ValueError, OverflowError, struct.error) as problem:
        raise _bad_elements(field, rows, problem) from None
    return Vectors(arr.ctypes.data, len(rows), 0, field.type, arr, single)


def _check_rows(field: Field, rows: Sequence[Any]) -> None:
    wanted = (field.dim, field.dim // 8) if field.type == DataType.BINARY_VECTOR else (field.dim,)
    try:
        if set(map(len, rows)).issubset(wanted):
            return
    except TypeError:
        pass  # which row it is, is found below
    for i, row in enumerate(rows):
        try:
            length = len(row)
        except TypeError:
            raise FieldTypeError(
                f"field {field.name!r}, row {i}: expected a vector, got {type(row).__name__}", row=i
            ) from None
        if length not in wanted:
            raise _dim_error(field, length, i)


def _bad_elements(field: Field, rows: Sequence[Any], problem: Exception) -> FieldTypeError:
    for i, row in enumerate(rows):
        for value in row:
            if not _is_number(value) or isinstance(value, str):
                return FieldTypeError(
                    f"field {field.name!r}, row {i}: a vector element is {type(value).__name__}: {value!r}", row=i
                )
            try:
                float(value)
            except OverflowError:
                return FieldTypeError(f"field {field.name!r}, row {i}: a vector element is too great for a float", row=i)
    return FieldTypeError(f"field {field.name!r}: {problem}")


def _pack_rows(field: Field, rows: Sequence[Any], query: bool) -> Tuple[Any, int]:
    """The same without numpy."""
    values = list(chain.from_iterable(rows))
    kind = field.type
    if kind == DataType.FLOAT_VECTOR or (query and kind in (DataType.FLOAT16_VECTOR, DataType.BFLOAT16_VECTOR)):
        return array.array("f", values), int(DataType.FLOAT_VECTOR)
    if kind == DataType.FLOAT16_VECTOR:
        return struct.pack(f"={len(values)}e", *values), kind
    if kind == DataType.BFLOAT16_VECTOR:
        bits = array.array("I")
        bits.frombytes(array.array("f", values).tobytes())
        nan = [value != value for value in values]
        return (
            array.array("H", [0x7FC0 if n else (b + 0x7FFF + ((b >> 16) & 1)) >> 16 for b, n in zip(bits, nan)]),
            kind,
        )
    if kind == DataType.INT8_VECTOR:
        if any(value != int(value) for value in values):
            if query:
                return array.array("f", values), int(DataType.FLOAT_VECTOR)
            raise ValueError("INT8_VECTOR elements are whole numbers from -128 to 127")
        return array.array("b", [int(value) for value in values]), kind
    if len(rows[0]) == field.dim:
        packed = bytearray()
        for row in rows:
            number = 0
            for bit in row:
                number = number << 1 | (1 if bit else 0)
            packed += number.to_bytes(field.dim // 8, "big")
        return bytes(packed), kind
    return array.array("B", values), kind


# -- scalars -----------------------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """A numpy scalar or array as plain Python, for JSON."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    raise TypeError(f"{type(value).__name__} is not JSON: {value!r}")


_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)


def to_json(value: Any) -> str:
    """JSON text. NaN and infinity are no JSON and are refused."""
    return _encoder.encode(value)


def _missing(values: Sequence[Any]) -> Optional[bytearray]:
    """A byte a row, 0 where the value is None; None when all are there."""
    if type(None) not in set(map(type, values)):
        return None
    return bytearray(0 if value is None else 1 for value in values)


def _type_error(field: Field, value: Any, row: int) -> FieldTypeError:
    return FieldTypeError(
        f"field {field.name!r}, row {row}: {field.type.name} expected, got {type(value).__name__}: {value!r}"[:400],
        row=row,
    )


def _fixed_list(field: Field, kind: DataType, values: List[Any]) -> Any:
    """An array.array of fixed-width values (None already replaced)."""
    layout = LAYOUTS[kind]
    types = set(map(type, values))
    if kind == DataType.BOOL:
        if types <= {bool}:
            return array.array("B", values)
        for i, value in enumerate(values):
            if not isinstance(value, bool) and type(value).__name__ not in ("bool", "bool_"):
                raise _type_error(field, value, i)
        return array.array("B", [1 if value else 0 for value in values])
    if bool in types:
        raise _type_error(field, True, next(i for i, value in enumerate(values) if isinstance(value, bool)))
    try:
        if kind.is_integer and not types <= {int}:
            for i, value in enumerate(values):
                if not hasattr(value, "__index__"):
                    raise _type_error(field, value, i)
            values = [value.__index__() for value in values]
        return array.array(layout.code, values)
    except FieldTypeError:
        raise
    except OverflowError:
        for i, value in enumerate(values):
            if kind.is_integer and not layout.low <= value <= layout.high:
                raise FieldTypeError(
                    f"field {field.name!r}, row {i}: {value} is beyond {kind.name} ({layout.low} .. {layout.high})", row=i
                ) from None
            if not kind.is_integer:
                try:
                    array.array(layout.code, [value])
                except OverflowError:
                    raise FieldTypeError(f"field {field.name!r}, row {i}: {value} is beyond {kind.name}", row=i) from None
        raise
    except TypeError:
        for i, value in enumerate(values):
            if not _is_number(value) or isinstance(value, str):
                raise _type_error(field, value, i) from None
        return array.array(layout.code, [float(value) for value in values])


def _fixed_array(field: Field, kind: DataType, arr: Any) -> Any:
    """A numpy array of exactly the field's type, the same one if it is that already."""
    np = numpy()
    assert np is not None
    layout = LAYOUTS[kind]
    wanted = np.dtype(layout.dtype)
    if arr.dtype == wanted:
        return arr
    have = arr.dtype.kind
    if kind == DataType.BOOL or have == "b" or have not in "iuf" or (kind.is_integer and have == "f"):
        raise FieldTypeError(f"field {field.name!r}: {kind.name} expected, got an array of {arr.dtype}")
    if kind.is_integer and arr.size:
        low, high = arr.min(), arr.max()
        if low < layout.low or high > layout.high:
            row = int((arr < layout.low).argmax() if low < layout.low else (arr > layout.high).argmax())
            raise FieldTypeError(
                f"field {field.name!r}, row {row}: {arr[row]} is beyond {kind.name} ({layout.low} .. {layout.high})", row=row
            )
    with np.errstate(over="ignore"):
        return arr.astype(wanted)


def _join_texts(field: Field, values: Sequence[str], valid: Optional[bytearray]) -> Tuple[bytes, Any]:
    """All texts in one piece, and where each begins."""
    try:
        joined = "".join(values)
    except TypeError:
        row = next(i for i, value in enumerate(values) if not isinstance(value, str))
        raise _type_error(field, values[row], row) from None
    if joined.isascii():
        return joined.encode("ascii"), array.array("Q", accumulate(map(len, values), initial=0))
    try:
        encoded = [value.encode("utf-8") for value in values]
    except UnicodeEncodeError as problem:
        row = next(i for i, value in enumerate(values) if value is problem.object or value == problem.object)
        raise InvalidError(f"field {field.name!r}, row {row}: not Unicode text: {problem.reason}", row=row) from None
    return b"".join(encoded), array.array("Q", accumulate(map(len, encoded), initial=0))


def _encode_texts(field: Field, column: Column, values: Sequence[Any], valid: Optional[bytearray]) -> None:
    if valid is not None:
        values = ["" if value is None else value for value in values]
    data, offsets = _join_texts(field, values, valid)
    column.data = column.lend(data)
    column.offsets = column.lend(offsets)


def _encode_json(field: Field, column: Column, values: Sequence[Any], valid: Optional[bytearray]) -> None:
    texts = []
    for i, value in enumerate(values):
        if value is None:
            texts.append(b"null")
        elif isinstance(value, (bytes, bytearray)):
            texts.append(bytes(value))  # JSON text already
        else:
            try:
                texts.append(to_json(value).encode("utf-8"))
            except (TypeError, ValueError, RecursionError) as problem:
                raise FieldTypeError(f"field {field.name!r}, row {i}: {problem}", row=i) from None
    column.data = column.lend(b"".join(texts))
    column.offsets = column.lend(array.array("Q", accumulate(map(len, texts), initial=0)))


def _encode_lists(field: Field, column: Column, values: Sequence[Any], valid: Optional[bytearray]) -> None:
    lists: List[Any] = []
    for i, value in enumerate(values):
        if value is None:
            value = ()
        elif isinstance(value, (str, bytes, MappingABC)) or not hasattr(value, "__iter__"):
            raise _type_error(field, value, i)
        elif hasattr(value, "tolist"):
            value = value.tolist()
        elif not isinstance(value, (list, tuple)):
            value = list(value)
        lists.append(value)
    flat = list(chain.from_iterable(lists))
    column.offsets = column.lend(array.array("Q", accumulate(map(len, lists), initial=0)))
    kind = DataType(field.element_type)
    try:
        if kind == DataType.VARCHAR:
            data, ends = _join_texts(field, flat, None)
            base = column.lend(data)
            pairs = array.array("Q", bytes(16 * len(flat)))
            for i in range(len(flat)):
                pairs[2 * i] = base + ends[i]
                pairs[2 * i + 1] = ends[i + 1] - ends[i]
            column.data = column.lend(pairs)
        else:
            if None in flat:
                raise _type_error(field, None, flat.index(None))
            column.data = column.lend(_fixed_list(field, kind, flat))
    except FieldTypeError as problem:  # the row of the flat list says nothing to the caller
        if problem.row is None:
            raise
        at = problem.row
        for row, value in enumerate(lists):
            if at < len(value):
                raise FieldTypeError(
                    f"field {field.name!r}, row {row}, element {at}: {kind.name} expected, got {value[at]!r}", row=row
                ) from None
            at -= len(value)
        raise


def _encode_arrow(field: Field, column: Column, values: Any) -> bool:
    """A pyarrow string column without making Python strings of it. False when it has to go the long way."""
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is None or field.type != DataType.VARCHAR or not isinstance(values, (pyarrow.Array, pyarrow.ChunkedArray)):
        return False
    if isinstance(values, pyarrow.ChunkedArray):
        values = values.combine_chunks()
        if isinstance(values, pyarrow.ChunkedArray):
            return False
    if values.null_count or not (pyarrow.types.is_string(values.type) or pyarrow.types.is_large_string(values.type)):
        return False
    values = values.cast(pyarrow.large_string())
    _, offsets, data = values.buffers()
    column.offsets = offsets.address + values.offset * 8
    column.data = data.address if data is not None else 0
    column.keep.append(values)
    return True


def _from_arrow(field: Field, values: Any) -> Any:
    """A pyarrow column as numpy, or as a list where values are missing; other things as they are."""
    if not type(values).__module__.startswith("pyarrow"):
        return values
    if values.null_count or numpy() is None:
        return values.to_pylist()
    if field.type.is_vector:
        if hasattr(values, "combine_chunks"):
            values = values.combine_chunks()
        size = getattr(values.type, "list_size", 0)
        if size and not hasattr(values, "chunks"):
            return values.flatten().to_numpy(zero_copy_only=False).reshape(len(values), size)
        return values.to_pylist()
    if field.type in LAYOUTS:
        return values.to_numpy() if hasattr(values, "chunks") else values.to_numpy(zero_copy_only=False)
    return values.to_pylist()


def row_count_of(values: Any) -> int:
    """Rows in a column that a user gave."""
    shape = getattr(values, "shape", None)
    if shape is not None and len(shape):
        return int(shape[0])
    try:
        return len(values)
    except TypeError:
        raise FieldTypeError(f"expected a column of values, got {type(values).__name__}: {values!r}"[:200]) from None


def _listed(field: Field, values: Any) -> List[Any]:
    try:
        return list(values)
    except TypeError:
        raise FieldTypeError(
            f"field {field.name!r}: expected a column of values, got {type(values).__name__}: {values!r}"[:300]
        ) from None


def encode_column(field: Field, values: Any) -> Column:
    """One field's values for a batch of rows."""
    if field.type == DataType.SPARSE_FLOAT_VECTOR and is_scipy(values):  # which may be a mapping
        return _encode_sparse_column(field, values)
    if isinstance(values, (str, bytes, bytearray, MappingABC)) or values is None:
        raise FieldTypeError(f"field {field.name!r}: expected a column of values, got {type(values).__name__}")
    if field.type == DataType.SPARSE_FLOAT_VECTOR:
        return _encode_sparse_column(field, values.to_pylist() if hasattr(values, "to_pylist") else values)
    if field.type.is_vector:
        return _encode_vector_column(field, _from_arrow(field, values))
    np = numpy()
    if not hasattr(values, "__len__"):
        values = _listed(field, values)
    rows = row_count_of(values)
    column = Column(field, rows)
    if _encode_arrow(field, column, values):
        return column
    values = _from_arrow(field, values)
    valid: Optional[bytearray] = None
    if np is not None and field.type in LAYOUTS and is_array_like(values):
        arr = as_array(values)
        if arr.ndim != 1:
            raise FieldTypeError(f"field {field.name!r}: {field.type.name} takes one value a row, got shape {arr.shape}")
        if isinstance(arr, np.ma.MaskedArray):
            if arr.mask is not np.ma.nomask:
                valid = bytearray((~arr.mask).astype(np.uint8).tobytes())
            arr = arr.filled(0)
        if arr.dtype != object:
            arr = _fixed_array(field, field.type, arr)
            column.width = arr.itemsize
            if arr.strides[0] < 0 or (rows > 1 and arr.strides[0] < arr.itemsize) or not arr.flags.aligned:
                arr = np.ascontiguousarray(arr)
            column.stride = 0 if rows < 2 or arr.strides[0] == arr.itemsize else int(arr.strides[0])
            column.keep.append(arr)
            column.data = int(arr.ctypes.data)
            if valid is not None:
                column.valid = column.lend(valid)
            return column
        values = arr
    if isinstance(values, array.array) and field.type in LAYOUTS and values.typecode == LAYOUTS[field.type].code:
        column.width = values.itemsize
        column.data = column.lend(values)
        return column
    if hasattr(values, "to_pylist"):
        values = values.to_pylist()
    elif hasattr(values, "tolist"):
        values = values.tolist()
    elif not isinstance(values, list):
        values = list(values)
    valid = _missing(values)
    if valid is not None:
        column.valid = column.lend(valid)
    if field.type == DataType.VARCHAR:
        _encode_texts(field, column, values, valid)
    elif field.type == DataType.JSON:
        _encode_json(field, column, values, valid)
    elif field.type == DataType.ARRAY:
        _encode_lists(field, column, values, valid)
    else:
        if valid is not None:
            filler: Any = False if field.type == DataType.BOOL else 0
            values = [filler if value is None else value for value in values]
        data = _fixed_list(field, field.type, values)
        column.width = data.itemsize
        column.data = column.lend(data)
    return column


def _encode_vector_column(field: Field, values: Any) -> Column:
    valid: Optional[bytearray] = None
    if hasattr(values, "to_pylist") and not is_array_like(values):
        values = values.to_pylist()
    if not is_array_like(values) or getattr(values, "dtype", None) == object:
        values = values if isinstance(values, (list, tuple)) else _listed(field, values)
        if type(None) in set(map(type, values)):
            valid = bytearray(0 if value is None else 1 for value in values)
            kept = [value for value in values if value is not None]
            filler: Any = None
            if kept and isinstance(kept[0], (bytes, bytearray)):
                filler = bytes(vector_bytes(field.type, field.dim))
            elif kept and len(kept[0]) != field.dim:
                filler = [0] * _elements(field)
            else:
                filler = [0] * field.dim
                kept_type = type(kept[0]) if kept else list
                np = numpy()
                if np is not None and kept and kept_type is np.ndarray:
                    filler = np.zeros(kept[0].shape, kept[0].dtype)
            values = [filler if value is None else value for value in values]
    vectors = encode_vectors(field, values)
    if vectors.single:
        raise DimError(f"field {field.name!r}: expected a list of vectors, got one vector")
    column = Column(field, vectors.rows)
    column.type = vectors.type
    column.width = vector_bytes(vectors.type, field.dim)
    column.stride = vectors.stride
    column.data = vectors.address
    column.keep.append(vectors.keep)
    if valid is not None:
        column.valid = column.lend(valid)
    return column


# -- batches -----------------------------------------------------------------------------------------------------

#: Bytes of values put into one insert, well under VECDB_MAX_BATCH_BYTES with what the library adds.
CHUNK_BYTES = 48 * 1024 * 1024


class Batch:
    """Columns with the same number of rows, and the parts they are written in."""

    __slots__ = ("columns", "rows")

    def __init__(self, columns: List[Column], rows: int) -> None:
        self.columns = columns
        self.rows = rows

    def parts(self) -> Iterable[Tuple[int, int]]:
        """[first, last) of each part that fits into one call."""
        pending = [(0, self.rows)]
        while pending:
            first, last = pending.pop()
            size = sum(column.bytes_between(first, last) + 8 * (last - first) for column in self.columns)
            if size <= CHUNK_BYTES or last - first <= 1:
                yield first, last
                continue
            pieces = -(-size // CHUNK_BYTES)
            step = max(1, -(-(last - first) // pieces))
            bounds = list(range(first, last, step)) + [last]
            pending.extend(reversed(list(zip(bounds[:-1], bounds[1:]))))

    def structs(self, first: int, last: int, partition: Optional[bytes]) -> Tuple[c.BatchStruct, Any]:
        """What C reads for rows [first, last); keep both as long as it does."""
        columns = (c.ColumnStruct * max(1, len(self.columns)))()
        for column, out in zip(self.columns, columns):
            column.fill(out, first)
        batch = c.BatchStruct()
        batch.size = ctypes.sizeof(c.BatchStruct)
        batch.column_size = ctypes.sizeof(c.ColumnStruct)
        batch.columns = columns
        batch.column_count = len(self.columns)
        batch.row_count = last - first
        batch.partition = partition
        return batch, columns


def uniform_columns(rows: Sequence[Any]) -> Optional[Dict[str, List[Any]]]:
    """Columns of row dicts that all have the same keys, None of others: most rows are such, and this is several times faster."""
    if not rows or set(map(type, rows)) != {dict}:
        return None
    names = list(rows[0])
    if set(map(len, rows)) != {len(names)}:
        return None
    try:
        return {name: list(map(itemgetter(name), rows)) for name in names}
    except KeyError:
        return None


def _transpose(rows: Sequence[Any]) -> Dict[str, List[Any]]:
    """Row dicts to columns; what a row lacks is None."""
    uniform = uniform_columns(rows)
    if uniform is not None:
        return uniform
    names: Dict[str, None] = {}
    for i, row in enumerate(rows):
        if not isinstance(row, MappingABC):
            raise FieldTypeError(f"row {i}: expected a dict, got {type(row).__name__}", row=i)
        for name in row:
            if name not in names:
                names[name] = None
    return {name: [row.get(name) for row in rows] for name in names}


def _as_columns(data: Any) -> Tuple[Mapping[str, Any], bool]:
    """Whatever a user gave, as columns; and whether it came as rows, where None may mean "not given"."""
    if isinstance(data, MappingABC):
        return data, False
    if isinstance(data, (str, bytes)):
        raise FieldTypeError(f"expected columns or rows, got {type(data).__name__}")
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(data, pandas.DataFrame):
        from ._tables import columns_from_pandas

        return columns_from_pandas(data), False
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is not None and isinstance(data, (pyarrow.Table, pyarrow.RecordBatch)):
        return {name: data.column(i) for i, name in enumerate(data.schema.names)}, False
    if not isinstance(data, (list, tuple)):
        try:
            data = list(data)
        except TypeError:
            raise FieldTypeError(f"expected columns or rows, got {type(data).__name__}") from None
    return _transpose(data), True


def encode_batch(schema: Schema, data: Any) -> Batch:
    """Rows for a collection: a dict of columns, a list of row dicts, a pandas or pyarrow table."""
    given, from_rows = _as_columns(data)
    columns: List[Column] = []
    extra: Dict[str, Any] = {}
    rows: Optional[int] = None
    first_name = ""
    for name, values in given.items():
        field = schema.get(name)
        if field is None:
            if not schema.dynamic:
                schema[name]  # raises, with the nearest name
            extra[name] = values
            count = row_count_of(values)
        else:
            if from_rows and all(value is None for value in values):
                # Nothing was given: the default, null, or the library's message. Length is known from the others.
                if rows is None:
                    rows, first_name = len(values), name
                if not field.nullable or field.default is not None:
                    continue
            column = encode_column(field, values)
            columns.append(column)
            count = column.rows
        if rows is None:
            rows, first_name = count, name
        elif count != rows:
            raise InvalidError(f"field {name!r} has {count} rows, but {first_name!r} has {rows}")
    rows = rows or 0
    if extra:
        columns.append(_encode_meta(extra, rows, from_rows))
    return Batch(columns, rows)


def _encode_meta(extra: Mapping[str, Any], rows: int, from_rows: bool) -> Column:
    """Keys that are no field, as one JSON object a row."""
    plain: Dict[str, List[Any]] = {}
    whole: Optional[List[Any]] = None
    for name, values in extra.items():
        if hasattr(values, "to_pylist"):
            values = values.to_pylist()
        elif hasattr(values, "tolist"):
            values = values.tolist()
        if name == META:
            whole = list(values)
        else:
            plain[name] = list(values)
    objects: List[Any] = []
    for i in range(rows):
        row: Dict[str, Any] = {}
        if whole is not None and whole[i] is not None:
            if not isinstance(whole[i], MappingABC):
                raise FieldTypeError(f"field {META!r}, row {i}: expected a dict, got {type(whole[i]).__name__}", row=i)
            row.update(whole[i])
        for name, column in plain.items():
            value = column[i]
            if value is not None or not from_rows:
                row[name] = value
        objects.append(row)
    field = Field(META, DataType.JSON)
    return encode_column(field, objects)


def encode_keys(field: Field, ids: Any) -> Column:
    """Primary keys: one, a list, or an array."""
    if isinstance(ids, (str, int)) and not isinstance(ids, bool):
        ids = [ids]
    elif hasattr(ids, "item") and getattr(ids, "ndim", 1) == 0:
        ids = [ids.item()]
    if isinstance(ids, (set, frozenset)) or not hasattr(ids, "__len__"):
        try:
            ids = list(ids)
        except TypeError:
            raise FieldTypeError(f"expected a key or a list of keys, got {type(ids).__name__}") from None
    if not len(ids):
        return encode_column(field, [])
    if not isinstance(ids, list) and not is_array_like(ids):
        ids = list(ids)
    if isinstance(ids, list) and None in ids:
        raise FieldTypeError(f"field {field.name!r}: a key is None", row=ids.index(None))
    return encode_column(field, ids)


def check_key_bytes(column: Column) -> None:
    if column.bytes_between(0, column.rows) > c.MAX_BATCH_BYTES:
        raise LimitError(f"{column.rows} keys are more than {c.MAX_BATCH_BYTES} bytes; pass fewer at a time")


# -- coming back -------------------------------------------------------------------------------------------------


def _u64(address: int, count: int) -> Sequence[int]:
    values = array.array("Q")
    values.frombytes(ctypes.string_at(address, count * 8))
    return values


def _texts(data: int, offsets: Sequence[int]) -> List[str]:
    base = offsets[0]
    raw = ctypes.string_at(data + base, offsets[-1] - base) if offsets[-1] > base else b""
    text = raw.decode("utf-8")
    if len(text) == len(raw):
        return [text[a - base : b - base] for a, b in zip(offsets, offsets[1:])]
    return [raw[a - base : b - base].decode("utf-8") for a, b in zip(offsets, offsets[1:])]


def _json_values(data: int, offsets: Sequence[int], valid: Optional[bytes]) -> List[Any]:
    raw = ctypes.string_at(data, offsets[-1]) if offsets[-1] else b""
    pieces = [raw[a:b] or b"null" for a, b in zip(offsets, offsets[1:])]
    values: List[Any] = json.loads(b"[" + b",".join(pieces) + b"]")
    return values


def _fixed(kind: int, address: int, stride: int, count: int) -> List[Any]:
    layout = LAYOUTS[kind]
    if stride and stride != layout.size:
        raw = b"".join(ctypes.string_at(address + i * stride, layout.size) for i in range(count))
    else:
        raw = ctypes.string_at(address, count * layout.size) if count else b""
    values = array.array(layout.code)
    values.frombytes(raw)
    if kind == DataType.BOOL:
        return [value != 0 for value in values]
    return values.tolist()


def bfloat16_to_floats(raw: bytes) -> "array.array[float]":
    bits = array.array("H")
    bits.frombytes(raw)
    wide = array.array("I", [value << 16 for value in bits])
    floats = array.array("f")
    floats.frombytes(wide.tobytes())
    return floats


def _vector_rows(column: c.ColumnStruct, count: int) -> List[Any]:
    """Vectors without numpy: lists of numbers; bytes for binary ones."""
    kind, dim = column.type, column.dim
    size = vector_bytes(kind, dim)
    step = column.stride or size
    out: List[Any] = []
    for i in range(count):
        raw = ctypes.string_at(column.data + i * step, size)
        if kind == DataType.BINARY_VECTOR:
            out.append(raw)
        elif kind == DataType.FLOAT16_VECTOR:
            out.append(list(struct.unpack(f"={dim}e", raw)))
        elif kind == DataType.BFLOAT16_VECTOR:
            out.append(bfloat16_to_floats(raw).tolist())
        else:
            values = array.array(LAYOUTS[kind].code)
            values.frombytes(raw)
            out.append(values.tolist())
    return out


def _numpy_block(np: Any, column: c.ColumnStruct, count: int, dtype: str, elements: int) -> Any:
    """A copy of fixed-width values as a (count, elements) array."""
    width = np.dtype(dtype).itemsize * elements
    step = column.stride or width
    if not count:
        return np.empty((0, elements), dtype)
    raw = (ctypes.c_char * (step * (count - 1) + width)).from_address(column.data)
    if step == width:
        return np.frombuffer(raw, dtype=dtype).reshape(count, elements).copy()
    view = np.ndarray((count, elements), dtype, raw, 0, (step, np.dtype(dtype).itemsize))
    return view.copy()


def decode_vectors(column: c.ColumnStruct, count: int) -> Any:
    """(count, dim) array; binary ones (count, dim/8) bytes; bfloat16 widened to float32, which is exact."""
    np = numpy()
    if np is None:
        return _vector_rows(column, count)
    kind = column.type
    if kind == DataType.BINARY_VECTOR:
        return _numpy_block(np, column, count, "uint8", column.dim // 8)
    if kind == DataType.BFLOAT16_VECTOR:
        bits = _numpy_block(np, column, count, "uint16", column.dim)
        return (bits.astype(np.uint32) << 16).view(np.float32)
    return _numpy_block(np, column, count, LAYOUTS[kind].dtype, column.dim)


def decode_column(column: c.ColumnStruct, count: int, *, arrays: bool) -> Any:
    """The values of a column that C gave.

    With `arrays` and numpy: arrays, as long as nothing is missing. Otherwise a list with None where a value is missing;
    vectors in it are 1-d arrays where numpy is there.
    """
    kind = column.type
    valid = ctypes.string_at(column.valid, count) if column.valid and count else None
    if valid is not None and 0 not in valid:
        valid = None
    np = numpy()
    values: Any
    if kind == DataType.SPARSE_FLOAT_VECTOR:
        values = decode_sparse(column.data or 0, _u64(column.offsets, count + 1) if count else [0])
    elif kind >= 100:
        values = decode_vectors(column, count)
        if arrays and valid is None:
            return values
        values = list(values)
    elif kind in LAYOUTS:
        if arrays and valid is None and np is not None:
            return _numpy_block(np, column, count, LAYOUTS[kind].dtype, 1).reshape(count)
        values = _fixed(kind, column.data or 0, column.stride, count)
    else:
        offsets: Sequence[int] = _u64(column.offsets, count + 1) if column.offsets and count else [0] * (count + 1)
        if kind == DataType.VARCHAR:
            values = _texts(column.data or 0, offsets)
        elif kind == DataType.JSON:
            values = _json_values(column.data or 0, offsets, valid)
        else:
            values = _arrays(column, offsets)
    if valid is not None:
        values = [value if there else None for value, there in zip(values, valid)]
    return values


def _arrays(column: c.ColumnStruct, offsets: Sequence[int]) -> List[List[Any]]:
    total = offsets[-1]
    flat: List[Any]
    if column.element_type == DataType.VARCHAR:
        strings = ctypes.cast(column.data, ctypes.POINTER(c.StringStruct)) if total else None
        flat = []
        for i in range(total):
            assert strings is not None
            # c_char_p would stop at a zero byte, so read the address
            address = ctypes.c_void_p.from_address(column.data + i * ctypes.sizeof(c.StringStruct)).value
            length = strings[i].length
            flat.append(ctypes.string_at(address, length).decode("utf-8") if length and address else "")
    else:
        flat = _fixed(column.element_type, column.data or 0, 0, total)
    return [flat[a:b] for a, b in zip(offsets, offsets[1:])]


Converter = Callable[[Any], Any]
