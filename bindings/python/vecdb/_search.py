"""Search requests: from Python arguments to the C struct, with what must stay alive beside it."""

from __future__ import annotations

from ctypes import POINTER, byref, c_char_p, c_double, c_int32, c_size_t, c_void_p, cast, pointer
from typing import Any, List, Mapping, Optional, Sequence, Tuple, Union

from . import _library as c
from ._columns import encode_keys, encode_vectors, to_json
from ._errors import FieldTypeError, InvalidError, NotFoundError
from ._handle import Gate, check, stoppable
from ._schema import Field, Schema
from ._types import DataType, Metric, metric, numpy

Names = Union[str, Sequence[str], None]


def name_list(what: str, names: Names) -> Optional[List[str]]:
    """One name or several."""
    if names is None:
        return None
    if isinstance(names, str):
        return [names]
    result = list(names)
    for name in result:
        if not isinstance(name, str):
            raise FieldTypeError(f"{what}: expected names, got {type(name).__name__}: {name!r}")
    return result


def params_text(params: Union[str, Mapping[str, Any], None], more: Mapping[str, Any]) -> Optional[bytes]:
    """Index or search parameters as JSON text; a ready-made text only alone."""
    if isinstance(params, str):
        if more:
            raise InvalidError(f"params is the text {params!r}: other parameters cannot be added to it")
        return c.text(params) or None
    merged = {**(params or {}), **more}
    if not merged:
        return None
    try:
        return to_json(merged).encode("utf-8")
    except (TypeError, ValueError) as problem:
        raise InvalidError(f"parameters {merged!r}: {problem}") from None


def filter_params_text(params: Union[str, Mapping[str, Any], None]) -> Optional[bytes]:
    """Values for {names} in a filter, as JSON text."""
    if params is None:
        return None
    if isinstance(params, str):
        return c.text(params)
    try:
        return to_json(dict(params)).encode("utf-8")
    except (TypeError, ValueError) as problem:
        raise InvalidError(f"filter_params: {problem}") from None


def whole(what: str, value: Any, low: int = 0) -> int:
    """A count given by the user."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise FieldTypeError(f"{what} must be a whole number, got {type(value).__name__}: {value!r}")
    number = int(value.__index__())
    if number < low or number >= 2**63:
        raise InvalidError(f"{what} is {number}; it must be at least {low}")
    return number


def number(what: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise FieldTypeError(f"{what} must be a number, got {type(value).__name__}: {value!r}") from None


def milliseconds(timeout: Optional[float]) -> int:
    if timeout is None:
        return 0
    if not timeout > 0:
        raise InvalidError(f"timeout is {timeout!r} seconds; it must be more than 0")
    return max(1, min(int(timeout * 1000), 2**32 - 1))


#: Queries from which on a search is worth a thread, so that Ctrl-C can end it.
MANY_QUERIES = 256


class Cancel:
    """Ends searches that were given it as cancel=, from another thread: they raise CancelledError."""

    __slots__ = ("_flag",)

    def __init__(self) -> None:
        self._flag = c_int32(0)

    def set(self) -> None:
        """End the searches that have it, those to come too."""
        self._flag.value = 1

    def clear(self) -> None:
        """Let searches to come run again."""
        self._flag.value = 0

    @property
    def is_set(self) -> bool:
        """Whether set() was called, and clear() not since."""
        return bool(self._flag.value)


def mmr(
    query: Any,
    vectors: Any,
    limit: int = 10,
    *,
    lambda_: float = 0.5,
    metric_type: Union[str, int, Metric] = "COSINE",
) -> List[int]:
    """Places of at most `limit` of the vectors, near to the query and unlike one another (maximal marginal relevance).

    lambda_ 1 looks at nearness alone, 0 at difference alone.
    """
    np = numpy()
    if np is None:
        raise InvalidError("mmr needs numpy")
    rows = np.ascontiguousarray(vectors, np.float32)
    one = np.ascontiguousarray(query, np.float32)
    if rows.ndim != 2 or one.shape != rows.shape[1:]:
        raise InvalidError(f"mmr: the query has shape {one.shape}, the vectors {rows.shape}")
    column = c.ColumnStruct()
    column.type, column.dim, column.data = int(DataType.FLOAT_VECTOR), rows.shape[1], rows.ctypes.data
    limit = min(whole("limit", limit), len(rows))
    chosen, count = (c_size_t * max(1, limit))(), c_size_t()
    check(
        c.lib.vecdb_mmr(
            one.ctypes.data, byref(column), len(rows), int(metric(metric_type)), lambda_, limit, chosen, byref(count)
        )
    )
    return list(chosen[: count.value])


class Request:
    """A search request in C's form. `keep` holds all it points to."""

    __slots__ = ("struct", "keep", "query_count", "limit", "output")

    def __init__(
        self,
        schema: Schema,
        queries: Any,
        limit: int = 10,
        *,
        field: Optional[str] = None,
        filter: Any = None,
        filter_params: Union[str, Mapping[str, Any], None] = None,
        output_fields: Names = None,
        metric_type: Union[str, int, Metric, None] = None,
        offset: int = 0,
        partitions: Names = None,
        ids: Any = None,
        radius: Optional[float] = None,
        range_filter: Optional[float] = None,
        group_by: Optional[str] = None,
        group_size: int = 1,
        strict_group_size: bool = False,
        round_decimal: int = -1,
        timeout: Optional[float] = None,
        exact: bool = False,
        params: Union[str, Mapping[str, Any], None] = None,
        cancel: Optional[Cancel] = None,
        more: Optional[Mapping[str, Any]] = None,
    ) -> None:
        struct = c.new_search_request()
        self.struct = struct
        self.keep: List[Any] = []
        target = vector_field(schema, field)
        vectors = encode_vectors(target, queries, query=True)
        self.keep.append(vectors.keep)
        self.query_count = vectors.rows
        self.limit = whole("limit", limit)
        struct.field = c.text(target.name)
        struct.queries = vectors.address or None
        struct.query_type = int(vectors.type)
        struct.dim = target.dim
        struct.query_count = vectors.rows
        struct.query_stride = vectors.stride
        struct.query_offsets = vectors.offsets or None
        struct.limit = self.limit
        struct.offset = whole("offset", offset)
        struct.metric = int(metric(metric_type))
        self.set_filter(filter, filter_params)
        self.output = name_list("output_fields", output_fields)
        if self.output:
            names = c.text_array(self.output)
            self.keep.append(names)
            struct.output_fields = names
            struct.output_count = len(self.output)
        self.set_partitions(partitions)
        if ids is not None:
            self.set_within(schema, ids)
        struct.params = params_text(params, more or {})
        if radius is not None:
            struct.has_radius = True
            struct.radius = number("radius", radius)
        if range_filter is not None:
            struct.has_range_filter = True
            struct.range_filter = number("range_filter", range_filter)
        struct.group_by = c.text(group_by)
        struct.group_size = whole("group_size", group_size)
        struct.strict_group_size = bool(strict_group_size)
        if not isinstance(round_decimal, int) or not -1 <= round_decimal <= 6:
            raise InvalidError(f"round_decimal is {round_decimal!r}; it must be -1 .. 6")
        struct.round_decimal = round_decimal
        struct.timeout_ms = milliseconds(timeout)
        struct.exact = bool(exact)
        if cancel is not None:
            self.keep.append(cancel)
            struct.cancel = pointer(cancel._flag)

    def run(self, gate: Gate, handle: Any, function: Any, *arguments: Any) -> int:
        """Call a function of the library with a gate's handle, this request and more; Ctrl-C ends it if it may take long."""
        if self.query_count < MANY_QUERIES or self.struct.cancel:
            return check(function(handle, byref(self.struct), *arguments))
        cancel = Cancel()
        self.struct.cancel = pointer(cancel._flag)
        self.keep.append(cancel)

        def call() -> int:
            with gate as held:  # by this thread too: the caller may be gone before the call has ended
                return check(function(held, byref(self.struct), *arguments))

        return stoppable(call, cancel.set)

    @classmethod
    def of_filter(
        cls,
        filter: Any = None,
        filter_params: Union[str, Mapping[str, Any], None] = None,
        partitions: Names = None,
    ) -> "Request":
        """One without queries, to explain a filter."""
        request = cls.__new__(cls)
        request.struct = c.new_search_request()
        request.keep = []
        request.set_filter(filter, filter_params)
        request.set_partitions(partitions)
        return request

    def set_partitions(self, partitions: Names) -> None:
        chosen = name_list("partitions", partitions)
        if chosen is None:
            return
        if not chosen:
            raise InvalidError("partitions is an empty list: name at least one, or leave it out for all")
        names = c.text_array(chosen)
        self.keep.append(names)
        self.struct.partitions = names
        self.struct.partition_count = len(chosen)

    def set_filter(self, filter: Any, filter_params: Union[str, Mapping[str, Any], None]) -> None:
        if filter is None:
            return
        if isinstance(filter, (list, tuple)):
            if len(filter) != self.query_count:
                raise InvalidError(f"{len(filter)} filters for {self.query_count} queries: one for each, or one for all")
            texts = (c_char_p * len(filter))(*[c.text(text) if text else None for text in filter])
            self.keep.append(texts)
            self.struct.query_filters = texts
            self.struct.filter_params = filter_params_text(filter_params)
            return
        compiled = getattr(filter, "_handle", None)
        if compiled is not None:
            if filter_params:
                raise InvalidError("a compiled filter has its filter_params already")
            self.struct.compiled = compiled
            self.keep.append(filter)
            return
        self.struct.filter = c.text(filter)
        self.struct.filter_params = filter_params_text(filter_params)

    def set_within(self, schema: Schema, ids: Any) -> None:
        if schema.primary is None:
            raise InvalidError("the collection has no primary key")
        keys = encode_keys(schema.primary, ids)
        column = c.ColumnStruct()
        keys.fill(column)
        self.keep += [keys, column]
        self.struct.within_keys = pointer(column)
        self.struct.within_count = keys.rows


def vector_field(schema: Schema, name: Optional[str]) -> Field:
    """The vector field to search; the only one when no name is given."""
    if name is None or name == "":
        fields = schema.vector_fields()
        if len(fields) == 1:
            return fields[0]
        if not fields:
            raise NotFoundError("the collection has no vector field")
        raise InvalidError(f"the collection has {len(fields)} vector fields, so say field=: {', '.join(f.name for f in fields)}")
    field = schema[name]
    if not field.type.is_vector:
        raise FieldTypeError(f"field {name!r} is {field.type.name}; a search needs a vector field")
    return field


class Search:
    """One part of a hybrid search: what Collection.search takes, kept for later.

    vecdb.Search(query, field="embedding", filter="year > 1990", ef=64)
    """

    __slots__ = ("queries", "limit", "options")

    def __init__(self, queries: Any, limit: int = 10, **options: Any) -> None:
        self.queries = queries
        self.limit = limit
        self.options = options

    def request(self, schema: Schema) -> Request:
        """The search in C's form, checked against a schema."""
        known = {name: self.options[name] for name in _OPTIONS if name in self.options}
        more = {name: value for name, value in self.options.items() if name not in _OPTIONS}
        return Request(schema, self.queries, self.limit, more=more, **known)


_OPTIONS = (
    "field",
    "filter",
    "filter_params",
    "metric_type",
    "offset",
    "partitions",
    "ids",
    "radius",
    "range_filter",
    "timeout",
    "cancel",
    "exact",
    "params",
    "round_decimal",
)


def hybrid_request(
    requests: Sequence[Request],
    ranker: str,
    k: float,
    weights: Optional[Sequence[float]],
    normalize: bool,
    limit: int,
    offset: int,
    output: Optional[List[str]],
    round_decimal: int,
) -> Tuple[c.HybridRequest, List[Any]]:
    """A hybrid request in C's form, and what must be kept beside it."""
    struct = c.new_hybrid_request()
    keep: List[Any] = [requests]
    pointers = (POINTER(c.SearchRequest) * len(requests))(*[pointer(request.struct) for request in requests])
    keep.append(pointers)
    struct.searches = pointers
    struct.search_count = len(requests)
    struct.ranker = c.text(ranker)
    struct.rrf_k = float(k)
    if weights is not None:
        if len(weights) != len(requests):
            raise InvalidError(f"{len(weights)} weights for {len(requests)} searches")
        numbers = (c_double * len(weights))(*[float(weight) for weight in weights])
        keep.append(numbers)
        struct.weights = cast(numbers, POINTER(c_double))
    struct.raw_scores = not normalize
    struct.limit = whole("limit", limit)
    struct.offset = whole("offset", offset)
    if output:
        names = c.text_array(output)
        keep.append(names)
        struct.output_fields = names
        struct.output_count = len(output)
    struct.round_decimal = round_decimal
    return struct, keep


class Plan:
    """A prepared search of one float32 vector without output fields: the hottest call there is.

    All of C's arguments are made once, and the vector is copied into place: that costs less than asking numpy for its
    address. One thread uses a plan at a time.
    """

    __slots__ = ("shape", "wide", "query", "keys", "scores", "counts", "arguments", "keep")

    def __init__(self, np: Any, handle: int, request: Request, query: Any) -> None:
        self.query = query
        self.shape = query.shape
        self.wide = np.dtype(np.float64)  # is taken too: copying converts it
        limit = request.limit
        self.keys = np.empty((1, limit), np.int64)
        self.scores = np.empty((1, limit), np.float32)
        self.counts = np.zeros(1, np.uintp)
        self.keep = request
        self.arguments = (
            c_void_p(handle),
            byref(request.struct),
            c_void_p(self.keys.ctypes.data),
            c_void_p(self.scores.ctypes.data),
            c_void_p(self.counts.ctypes.data),
        )
