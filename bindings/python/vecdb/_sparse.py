"""Sparse vectors: dicts, lists of pairs and scipy's matrices to the C library's form, and back as dicts."""

from __future__ import annotations

import array
import ctypes
from collections.abc import Mapping as MappingABC
from itertools import accumulate, chain
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ._errors import FieldTypeError, InvalidError
from ._types import numpy

#: Bytes of an index and its value.
PAIR_BYTES = 8


class Sparse(NamedTuple):
    """Vectors as C reads them: pairs (u32 index, f32 value), and where each row's begin and end."""

    pairs: Any
    offsets: Any
    rows: int
    valid: Optional[bytearray]
    single: bool  # one vector was given, not a list of vectors


def is_scipy(value: Any) -> bool:
    """Whether it is one of scipy's sparse matrices or arrays."""
    return hasattr(value, "tocsr") and hasattr(value, "nnz")


def encode_sparse(name: str, values: Any, *, query: bool = False) -> Sparse:
    """One vector or many. A vector is a dict {index: value}, an iterable of (index, value), a dict of "indices" and "values",
    or a row of scipy's; many are a list of those, or a scipy matrix with a row for each."""
    if is_scipy(values):
        return _from_scipy(name, values)
    if isinstance(values, MappingABC):
        return _from_rows(name, [values])._replace(single=True)
    if isinstance(values, (str, bytes, bytearray)) or not hasattr(values, "__iter__"):
        raise FieldTypeError(f"field {name!r}: expected sparse vectors, got {type(values).__name__}")
    rows = values if isinstance(values, (list, tuple)) else list(values)
    if rows and _is_pair(rows[0]):
        return _from_rows(name, [rows])._replace(single=True)
    return _from_rows(name, rows)


def _is_pair(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2 and all(
        hasattr(number, "__float__") and not hasattr(number, "__len__") for number in value
    )


def _from_scipy(name: str, matrix: Any) -> Sparse:
    """All rows at once; the parts of a CSR matrix are laid side by side, and nothing else is touched."""
    np = numpy()
    if np is None:
        raise InvalidError(f"field {name!r}: scipy's matrices need numpy")
    single = matrix.ndim == 1
    if single:
        matrix = matrix.reshape(1, -1)
    matrix = matrix.tocsr()
    if not matrix.has_canonical_format:  # an index may be there twice, which scipy means as a sum
        matrix = matrix.copy()
        matrix.sum_duplicates()
    if matrix.data.dtype.kind not in "fiub":
        raise FieldTypeError(f"field {name!r}: sparse vectors cannot be made of {matrix.data.dtype}")
    pairs = np.empty(matrix.data.size, [("index", np.uint32), ("value", np.float32)])
    pairs["index"] = matrix.indices
    with np.errstate(over="ignore"):
        pairs["value"] = matrix.data
    return Sparse(pairs, matrix.indptr.astype(np.uint64), int(matrix.shape[0]), None, single)


def _pairs_of(name: str, row: int, value: Any) -> Tuple[Sequence[Any], Sequence[Any]]:
    """A vector's indexes, and its values."""
    if isinstance(value, MappingABC):
        if "indices" in value and "values" in value:
            indexes, numbers = list(value["indices"]), list(value["values"])
            if len(indexes) != len(numbers) or len(value) != 2:
                raise InvalidError(f"field {name!r}, row {row}: {len(indexes)} indices and {len(numbers)} values", row=row)
            return indexes, numbers
        return list(value), list(value.values())
    if is_scipy(value):
        one = _from_scipy(name, value)
        if one.rows != 1:
            raise FieldTypeError(f"field {name!r}, row {row}: expected one row of a sparse matrix, got {one.rows}", row=row)
        return one.pairs["index"].tolist(), one.pairs["value"].tolist()
    try:
        pairs = [(index, number) for index, number in value]
    except (TypeError, ValueError):
        raise FieldTypeError(
            f"field {name!r}, row {row}: expected a sparse vector, such as {{7: 0.5}}, got {type(value).__name__}: {value!r}"[:300],
            row=row,
        ) from None
    return [index for index, _ in pairs], [number for _, number in pairs]


def _from_rows(name: str, rows: Sequence[Any]) -> Sparse:
    valid: Optional[bytearray] = None
    if set(map(type, rows)) == {dict} and not any("indices" in row for row in rows):
        lengths = list(map(len, rows))
        indexes: Any = chain.from_iterable(rows)
        numbers: Any = chain.from_iterable(row.values() for row in rows)
    else:
        if any(row is None for row in rows):
            valid = bytearray(row is not None for row in rows)
        split = [((), ()) if row is None else _pairs_of(name, i, row) for i, row in enumerate(rows)]
        lengths = [len(one) for one, _ in split]
        indexes = chain.from_iterable(one for one, _ in split)
        numbers = chain.from_iterable(one for _, one in split)
    try:
        first, second = array.array("I", indexes), array.array("I", array.array("f", numbers).tobytes())
    except (TypeError, ValueError, OverflowError):
        raise _bad_pair(name, rows) from None
    pairs = array.array("I", bytes(PAIR_BYTES * len(first)))
    pairs[0::2], pairs[1::2] = first, second
    return Sparse(pairs, array.array("Q", accumulate(lengths, initial=0)), len(rows), valid, False)


def _bad_pair(name: str, rows: Sequence[Any]) -> Exception:
    """What is wrong, and in which row."""
    for row, value in enumerate(rows):
        for index, number in zip(*_pairs_of(name, row, value)) if value is not None else ():
            if isinstance(index, str) or not hasattr(index, "__index__"):
                return FieldTypeError(f"field {name!r}, row {row}: index {index!r} is no whole number", row=row)
            if not 0 <= index.__index__() < 2**32 - 1:
                return InvalidError(f"field {name!r}, row {row}: index {index} is not in 0 .. {2**32 - 2}", row=row)
            if isinstance(number, str) or not hasattr(number, "__float__"):
                return FieldTypeError(f"field {name!r}, row {row}: the value at index {index} is {number!r}"[:300], row=row)
            try:
                array.array("f", [number])
            except OverflowError:
                return InvalidError(f"field {name!r}, row {row}: the value at index {index} is beyond float32", row=row)
    return FieldTypeError(f"field {name!r}: not a sparse vector")


def decode_sparse(data: int, offsets: Sequence[int]) -> List[Dict[int, float]]:
    """A dict {index: value} a row, by ascending index."""
    begin, end = offsets[0], offsets[-1]
    words = array.array("I")
    words.frombytes(ctypes.string_at(data + begin * PAIR_BYTES, (end - begin) * PAIR_BYTES) if end > begin else b"")
    numbers = array.array("f")
    numbers.frombytes(words[1::2].tobytes())
    indexes, values = words[0::2].tolist(), numbers.tolist()
    return [dict(zip(indexes[a - begin : b - begin], values[a - begin : b - begin])) for a, b in zip(offsets, offsets[1:])]
