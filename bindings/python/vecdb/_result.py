"""What a search finds."""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from collections.abc import Sequence as SequenceABC
from ctypes import byref, c_size_t, c_void_p
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple, Union, overload

from . import _library as c
from ._columns import decode_column
from ._schema import META
from ._types import numpy

SCORE = "$score"


class Hit(MappingABC):  # type: ignore[type-arg]
    """One row that a search found: `id`, `distance`, and its output fields as a mapping: hit["title"]."""

    __slots__ = ("id", "distance", "_result", "_row")

    def __init__(self, id: Any, distance: float, result: "Result", row: int) -> None:
        #: Primary key.
        self.id = id
        #: L2 squared, COSINE similarity, ...: what the metric gives.
        self.distance = distance
        self._result = result
        self._row = row

    def __getitem__(self, name: str) -> Any:
        values = self._result._columns.get(name)
        if values is not None:
            return values[self._row]
        meta = self._result._columns.get(META)
        if meta is not None and meta[self._row] and name in meta[self._row]:
            return meta[self._row][name]
        if name == self._result._key_name:
            return self.id
        raise KeyError(name)

    def keys(self) -> Any:
        """Names of the output fields."""
        return list(self)

    def __iter__(self) -> Iterator[str]:
        for name in self._result._columns:
            if name != META:
                yield name
            else:
                yield from (self._result._columns[META][self._row] or {})

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def to_dict(self) -> Dict[str, Any]:
        """The output fields."""
        return {name: self[name] for name in self}

    def __repr__(self) -> str:
        fields = "".join(f", {name}={self[name]!r}" for name in self)
        return f"Hit(id={self.id!r}, distance={self.distance:.6g}{fields})"


class Hits(SequenceABC):  # type: ignore[type-arg]
    """The hits of one query, best first."""

    __slots__ = ("_result", "_query", "_count")

    def __init__(self, result: "Result", query: int, count: int) -> None:
        self._result = result
        self._query = query
        self._count = count

    @property
    def ids(self) -> Any:
        """Primary keys, best first."""
        return self._result.ids[self._query][: self._count]

    @property
    def distances(self) -> Any:
        """What the metric gives, best first."""
        return self._result.distances[self._query][: self._count]

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, i: int) -> Hit: ...

    @overload
    def __getitem__(self, i: slice) -> List[Hit]: ...

    def __getitem__(self, i: Union[int, slice]) -> Union[Hit, List[Hit]]:
        if isinstance(i, slice):
            return [self._hit(j) for j in range(*i.indices(self._count))]
        if i < 0:
            i += self._count
        if not 0 <= i < self._count:
            raise IndexError(f"hit {i} of {self._count}")
        return self._hit(i)

    def _hit(self, i: int) -> Hit:
        result = self._result
        id, distance = result.ids[self._query][i], result.distances[self._query][i]
        if hasattr(id, "item"):
            id = id.item()
        return Hit(id, float(distance), result, result._first(self._query) + i)

    def __iter__(self) -> Iterator[Hit]:
        result, first = self._result, self._result._first(self._query)
        ids, distances = self.ids, self.distances
        if hasattr(ids, "tolist"):
            ids = ids.tolist()
        if hasattr(distances, "tolist"):
            distances = distances.tolist()
        for i in range(self._count):
            yield Hit(ids[i], distances[i], result, first + i)

    def __repr__(self) -> str:
        return f"[{', '.join(map(repr, self))}]"


class Result(SequenceABC):  # type: ignore[type-arg]
    """What a search found: one Hits per query.

    ids        (queries, hits) int64 array; object array for VARCHAR keys; lists of lists without numpy
    distances  the same shape, float32
    exhausted  some query has fewer than `limit` hits because no more rows match. The arrays are as wide as the longest
               answer; shorter ones are filled up with -1 (None for VARCHAR keys) and NaN.
    """

    __slots__ = ("ids", "distances", "exhausted", "_counts", "_firsts", "_columns", "_key_name")

    def __init__(
        self,
        ids: Any,
        distances: Any,
        exhausted: bool = False,
        counts: Optional[Sequence[int]] = None,
        firsts: Optional[Sequence[int]] = None,
        columns: Optional[Dict[str, Any]] = None,
        key_name: str = "",
    ) -> None:
        self.ids: Any = ids
        self.distances: Any = distances
        self.exhausted = exhausted
        self._counts = counts
        self._firsts = firsts
        self._columns: Dict[str, Any] = columns or {}
        self._key_name = key_name

    def _first(self, query: int) -> int:
        return self._firsts[query] if self._firsts is not None else 0

    def _count(self, query: int) -> int:
        return int(self._counts[query]) if self._counts is not None else len(self.ids[query])

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, i: int) -> Hits: ...

    @overload
    def __getitem__(self, i: slice) -> List[Hits]: ...

    def __getitem__(self, i: Union[int, slice]) -> Union[Hits, List[Hits]]:
        if isinstance(i, slice):
            return [Hits(self, j, self._count(j)) for j in range(*i.indices(len(self)))]
        if i < 0:
            i += len(self)
        if not 0 <= i < len(self):
            raise IndexError(f"query {i} of {len(self)}")
        return Hits(self, i, self._count(i))

    def __iter__(self) -> Iterator[Hits]:
        for i in range(len(self)):
            yield Hits(self, i, self._count(i))

    def column(self, name: str) -> Any:
        """An output field over all hits of all queries, one query after the other."""
        if name in self._columns:
            return self._columns[name]
        if META in self._columns:
            return [(meta or {}).get(name) for meta in self._columns[META]]
        raise KeyError(name)

    def to_list(self) -> List[List[Dict[str, Any]]]:
        """Plain dicts: [[{"id": ..., "distance": ..., **fields}, ...], ...]."""
        return [[{"id": hit.id, "distance": hit.distance, **hit.to_dict()} for hit in hits] for hits in self]

    def to_pandas(self) -> Any:
        """One DataFrame row per hit: query, id, distance, output fields."""
        import pandas

        columns: Dict[str, List[Any]] = {"query": [], "id": [], "distance": []}
        rows: List[Dict[str, Any]] = []
        for q, hits in enumerate(self):
            for hit in hits:
                rows.append({"query": q, "id": hit.id, "distance": hit.distance, **hit.to_dict()})
        return pandas.DataFrame(rows) if rows else pandas.DataFrame(columns)

    def __repr__(self) -> str:
        shown = ", ".join(repr(hits) for hits in self[:3])
        more = f", ... {len(self) - 3} more queries" if len(self) > 3 else ""
        return f"Result([{shown}{more}])"


class NativeResult:
    """A result of the C library, read once and freed."""

    __slots__ = ("_handle",)

    def __init__(self, handle: c_void_p) -> None:
        self._handle = handle

    def __enter__(self) -> "NativeResult":
        return self

    def __exit__(self, *_: object) -> None:
        c.lib.vecdb_result_free(byref(self._handle))

    def rows(self) -> Tuple[List[int], List[int]]:
        """Rows of each query, and where they begin in the columns."""
        handle = self._handle
        first = c_size_t()
        counts, firsts = [], []
        for i in range(c.lib.vecdb_result_query_count(handle)):
            counts.append(c.lib.vecdb_result_rows(handle, i, byref(first)))
            firsts.append(first.value)
        return counts, firsts

    def columns(self, count: int, *, arrays: bool) -> Dict[str, Any]:
        """Every column, by name, in the library's order: key, score, output fields."""
        found: Dict[str, Any] = {}
        i = 0
        while True:
            column = c.ColumnStruct()
            if c.lib.vecdb_result_column_at(self._handle, i, byref(column)) != c.OK:
                return found
            name = column.field.decode("utf-8")
            if name not in found:
                found[name] = decode_column(column, count, arrays=arrays or name == SCORE or i == 0)
            i += 1


def take_loose(columns: Dict[str, Any], loose: Sequence[str]) -> None:
    """Replace the dynamic field by some of its keys."""
    if loose:
        meta = columns.pop(META, [])
        for name in loose:
            columns[name] = [(row or {}).get(name) for row in meta]


def search_result(
    handle: c_void_p, exhausted: bool, key_name: str, want_key: bool, loose: Sequence[str] = ()
) -> Result:
    """A Result with fields out of a native one; `loose` are keys wanted of the dynamic field, which came whole."""
    with NativeResult(handle) as native:
        counts, firsts = native.rows()
        total = sum(counts)
        columns = native.columns(total, arrays=False)
    take_loose(columns, loose)
    keys = columns.get(key_name, [])
    scores = columns.pop(SCORE, [])
    if want_key:
        columns[key_name] = keys.tolist() if hasattr(keys, "tolist") else keys
    else:
        columns.pop(key_name, None)
    ids, distances = _grid(keys, scores, counts, firsts)
    return Result(ids, distances, exhausted, counts, firsts, columns, key_name)


def _grid(keys: Any, scores: Any, counts: List[int], firsts: List[int]) -> Tuple[Any, Any]:
    """Flat columns as one row per query, filled up to the longest."""
    np = numpy()
    width = max(counts, default=0)
    if np is None:
        return (
            [list(keys[first : first + count]) for first, count in zip(firsts, counts)],
            [list(scores[first : first + count]) for first, count in zip(firsts, counts)],
        )
    texts = isinstance(keys, list) and any(isinstance(key, str) for key in keys)
    flat = np.empty(len(keys), object) if texts else np.asarray(keys, np.int64)
    if texts:
        flat[:] = keys
    flat_scores = np.asarray(scores, np.float32)
    if all(count == width for count in counts) and len(flat) == width * len(counts):
        return flat.reshape(len(counts), width), flat_scores.reshape(len(counts), width)
    ids = np.full((len(counts), width), None if texts else -1, flat.dtype)
    distances = np.full((len(counts), width), np.nan, np.float32)
    for i, (first, count) in enumerate(zip(firsts, counts)):
        ids[i, :count] = flat[first : first + count]
        distances[i, :count] = flat_scores[first : first + count]
    return ids, distances


def query_rows(
    handle: c_void_p, *, as_columns: bool, loose: Sequence[str] = ()
) -> Union[List[Dict[str, Any]], Dict[str, Any]]:
    """Rows as dicts, or as columns."""
    with NativeResult(handle) as native:
        counts, _ = native.rows()
        total = sum(counts)
        columns = native.columns(total, arrays=as_columns)
    columns.pop(SCORE, None)
    take_loose(columns, loose)
    if as_columns:
        return columns
    plain = {name: values.tolist() if hasattr(values, "tolist") else values for name, values in columns.items()}
    meta = plain.pop(META, None)
    names = list(plain)
    rows = [dict(zip(names, values)) for values in zip(*plain.values())] if names else [{} for _ in range(total)]
    if meta is not None:
        for row, more in zip(rows, meta):
            for name, value in (more or {}).items():
                row.setdefault(name, value)
    return rows
