"""A collection: writing, searching, indexes, upkeep."""

from __future__ import annotations

import json
import threading
import weakref
from collections.abc import Mapping as MappingABC
from ctypes import POINTER, byref, c_size_t, c_uint64, c_void_p, sizeof
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

from . import _library as c
from ._columns import Batch, check_key_bytes, encode_batch, encode_keys
from ._errors import FieldTypeError, InvalidError, MisuseError, NotFoundError
from ._handle import Gate, Progress, ProgressLike, Unique, check, failure
from ._result import Hits, Result, query_rows, search_result
from ._schema import META, Field, Schema
from ._search import (
    Cancel,
    Names,
    Plan,
    Request,
    Search,
    filter_params_text,
    hybrid_request,
    name_list,
    params_text,
    vector_field,
    whole,
)
from ._types import DataType, Metric, metric, numpy

if TYPE_CHECKING:
    from ._database import Database

#: Hits of one search for which arrays are made before it is known how many there are.
ROOM_FOR_ALL = 2**26

DURABILITY = {None: 0, "default": 0, "full": 1, "normal": 2, "none": 3}

Params = Union[str, Mapping[str, Any], None]
FilterLike = Union[str, "Filter", None]


def durability_code(value: Optional[str]) -> int:
    try:
        return DURABILITY[value]
    except (KeyError, TypeError):
        raise InvalidError(f"durability is {value!r}; it must be 'full', 'normal' or 'none'") from None


class Collection(Unique):
    """A collection of rows. Any method may be called from any thread; close() waits for the calls that run."""

    def __init__(self, database: "Database", handle: c_void_p, name: str) -> None:
        self._database = database
        self._gate = Gate(f"collection {name!r}", handle)
        self._name = name
        self._schema = self._read_schema(handle)
        self._plans: Dict[Any, List[Plan]] = {}
        self._last_plan: Any = (None, None)  # a key of _plans and its value: comparing is quicker than hashing
        self._plan_count = 0
        self._plan_lock = threading.Lock()
        self._children: "weakref.WeakSet[Any]" = weakref.WeakSet()  # cursors and filters
        self._int64_key = self._schema.primary is not None and self._schema.primary.type == DataType.INT64

    # -- what it is ----------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The collection's own name, also when it was opened by an alias."""
        return self._name

    @property
    def schema(self) -> Schema:
        """Its fields."""
        return self._schema

    @property
    def database(self) -> "Database":
        """The database it is in."""
        return self._database

    @property
    def closed(self) -> bool:
        """Whether close() was called, on this handle or on the database."""
        return self._gate.handle is None

    def __repr__(self) -> str:
        return f"<vecdb.Collection {self._name!r}{' (closed)' if self.closed else ''}>"

    @staticmethod
    def _read_schema(handle: Any) -> Schema:
        struct = POINTER(c.SchemaStruct)()
        check(c.lib.vecdb_collection_schema(handle, byref(struct)))
        return Schema.from_struct(struct.contents)

    def _primary(self) -> Field:
        if self._schema.primary is None:
            raise InvalidError(f"collection {self._name!r} has no primary key")
        return self._schema.primary

    # -- closing -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Give the handle back. Nothing is lost: what was written is in the database."""
        handle = self._gate.shut()  # from here on nobody reads a page or opens another cursor
        if handle is None:
            return
        for child in list(self._children):
            child.close()
        self._drop_plans()
        status = c.lib.vecdb_collection_close(byref(handle))
        if status < 0:
            self._gate.reopen(handle)
            raise failure(status)

    def _drop_plans(self) -> None:
        """Take all plans out of use, waiting for those that a thread is searching with."""
        import time

        self._last_plan = (None, None)
        plans, self._plans = self._plans, {}  # whoever searches next finds none, and then the gate shut
        while self._plan_count:
            for stack in plans.values():
                while stack:
                    try:
                        stack.pop()
                    except IndexError:
                        break
                    with self._plan_lock:
                        self._plan_count -= 1
            if self._plan_count > 0:
                time.sleep(0.0005)

    def __enter__(self) -> "Collection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        try:
            self.close()
        except Exception:  # the interpreter may be half gone
            pass

    # -- writing -------------------------------------------------------------------------------------------------

    def insert(self, data: Any, *, partition: Optional[str] = None, durability: Optional[str] = None) -> Any:
        """Add rows, all or none, and return their keys.

        data is a dict of columns, a list of row dicts, a pandas DataFrame or a pyarrow Table. A call of more than
        64 MB is written in several steps, each all or none; an error then says in `rows_written` how far it came.
        """
        return self._write(c.lib.vecdb_insert, data, partition, durability, False)

    def upsert(self, data: Any, *, partition: Optional[str] = None, durability: Optional[str] = None) -> Any:
        """Add rows, replacing those whose key is there already, in one atomic step. Returns the keys."""
        return self._write(c.lib.vecdb_upsert, data, partition, durability, True)

    def _write(self, function: Any, data: Any, partition: Optional[str], durability: Optional[str], upsert: bool) -> Any:
        primary = self._primary()
        if hasattr(data, "__next__"):
            data = list(data)  # it is read again, for the keys
        batch = encode_batch(self._schema, data)
        np = numpy()
        made: Any = None
        if not batch.rows:
            durability_code(durability)
            with self._gate:
                return np.empty(0, np.int64) if np is not None and primary.type == DataType.INT64 else []
        if primary.auto_id and not (upsert and any(col.name == c.text(primary.name) for col in batch.columns)):
            import array as arrays

            made = np.empty(batch.rows, np.int64) if np is not None else arrays.array("q", bytes(8 * batch.rows))
            address = int(made.ctypes.data) if np is not None else made.buffer_info()[0]
        options = c.WriteOptions()
        options.size = sizeof(c.WriteOptions)
        options.durability = durability_code(durability)
        name = c.text(partition) if partition else None
        written = 0
        with self._gate as handle:
            for first, last in batch.parts():
                struct, keep = batch.structs(first, last, name)
                options.bad_row = c.NO_ROW
                options.auto_ids = address + first * 8 if made is not None else None
                status = function(handle, byref(struct), byref(options))
                if status < 0:
                    row = None if options.bad_row == c.NO_ROW else first + options.bad_row
                    raise failure(status, row=row, rows_written=written)
                written += last - first
                del keep
        if made is not None:
            if primary.type == DataType.VARCHAR:
                return [str(key) for key in made.tolist()]
            return made
        return _keys_of(primary, data, batch)

    def delete(
        self,
        ids: Any = None,
        *,
        filter: Optional[str] = None,
        filter_params: Params = None,
        durability: Optional[str] = None,
    ) -> int:
        """Delete rows by key or by filter; how many there were."""
        if (ids is None) == (filter is None):
            raise InvalidError("delete needs either ids or a filter")
        options = c.WriteOptions()
        options.size = sizeof(c.WriteOptions)
        options.durability = durability_code(durability)
        options.bad_row = c.NO_ROW
        with self._gate as handle:
            if filter is not None:
                status = c.lib.vecdb_delete_where(
                    handle, c.text(filter), filter_params_text(filter_params), byref(options)
                )
            else:
                keys = encode_keys(self._primary(), ids)
                if not keys.rows:
                    return 0
                check_key_bytes(keys)
                column = c.ColumnStruct()
                keys.fill(column)
                status = c.lib.vecdb_delete(handle, byref(column), keys.rows, byref(options))
            if status < 0:
                raise failure(status, row=None if options.bad_row == c.NO_ROW else options.bad_row)
        return int(options.affected)

    def truncate(self) -> None:
        """Delete all rows, keeping schema and indexes."""
        with self._gate as handle:
            check(c.lib.vecdb_collection_truncate(handle))

    def add_field(self, field: Field) -> None:
        """Add a field, which must be nullable or have a default. Rows already there take that."""
        struct = c.FieldStruct()
        field.to_struct(struct)
        with self._gate as handle:
            check(c.lib.vecdb_collection_add_field(handle, byref(struct)))
            self._schema = self._read_schema(handle)

    def set_ttl(self, seconds: int) -> None:
        """Let rows expire so many seconds after they were inserted or upserted; 0: never. Takes effect at once, also on rows there are.

        Rows from before this was first asked for count as inserted at that moment. Rows that have expired come back when they are given
        more time, unless optimize(), compaction or a later row of the same key has dropped them.
        """
        if isinstance(seconds, bool) or not isinstance(seconds, int) or not 0 <= seconds < 2**64:
            raise InvalidError(f"ttl_seconds must be a whole number of at least 0, got {seconds!r}")
        with self._gate as handle:
            check(c.lib.vecdb_collection_set_ttl(handle, seconds))
            self._schema = self._read_schema(handle)

    # -- searching -----------------------------------------------------------------------------------------------

    def search(
        self,
        queries: Any,
        limit: int = 10,
        *,
        field: Optional[str] = None,
        filter: FilterLike = None,
        filter_params: Params = None,
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
        params: Params = None,
        cancel: Optional[Cancel] = None,
        **search_params: Any,
    ) -> Result:
        """The `limit` nearest rows to each query.

        queries        one vector, or many: an array, a tensor, a list
        field          vector field; may be left out when there is only one
        filter         which rows count: "year >= 1990 and title like 'The %'"; filter_params fills {names} in it. A list
                       has one for each query, None for all rows
        output_fields  fields to bring along; "*" for all
        radius, range_filter   only hits nearer than radius, and not nearer than range_filter
        group_by       at most group_size hits for each value of this field
        ids            search only the rows with these keys
        exact          scan every row, whatever the index
        cancel         a vecdb.Cancel(), with which another thread may end the search
        Further names are search parameters of the index: ef=64, nprobe=8.
        """
        key: Optional[Tuple[Any, ...]] = (
            limit,
            filter,
            field,
            filter_params,
            output_fields,
            metric_type,
            offset,
            partitions,
            ids,
            radius,
            range_filter,
            group_by,
            round_decimal,
            timeout,
            exact,
            params,
            cancel,
            *search_params.items(),
        )
        plan: Optional[Plan] = None
        try:
            last_key, stack = self._last_plan
            if last_key != key:
                stack = self._plans[key]
                self._last_plan = (key, stack)
            plan = stack.pop()
        except (KeyError, IndexError, TypeError, ValueError):  # not prepared, in use by another thread, or not hashable
            pass
        if plan is not None:
            try:
                query = plan.query
                try:
                    ready = queries.shape == plan.shape and (queries.dtype is query.dtype or queries.dtype is plan.wide)
                except AttributeError:
                    ready = False
                if ready:
                    query[:] = queries
                    status = c.search_into_raw(*plan.arguments)
                    if status == 0:
                        return Result(plan.keys.copy(), plan.scores.copy())
                    if status == 2:
                        count = int(plan.counts[0])
                        return Result(plan.keys[:, :count].copy(), plan.scores[:, :count].copy(), True)
                    raise failure(status)
            finally:
                stack.append(plan)
            key = None  # prepared already
        return self._search(
            key,
            queries,
            limit,
            {
                "field": field,
                "filter": filter,
                "filter_params": filter_params,
                "output_fields": output_fields,
                "metric_type": metric_type,
                "offset": offset,
                "partitions": partitions,
                "ids": ids,
                "radius": radius,
                "range_filter": range_filter,
                "group_by": group_by,
                "group_size": group_size,
                "strict_group_size": strict_group_size,
                "round_decimal": round_decimal,
                "timeout": timeout,
                "exact": exact,
                "params": params,
                "cancel": cancel,
                "more": search_params,
            },
        )

    def _search(self, key: Any, queries: Any, limit: int, options: Dict[str, Any]) -> Result:
        with self._gate as handle:
            request = Request(self._schema, queries, limit, **options)
            if not request.query_count:
                return _no_queries(self._int64_key)
            plain = self._int64_key and not request.output and options["group_by"] is None
            if not plain or request.query_count * request.limit > ROOM_FOR_ALL:
                out = c_void_p()
                try:
                    status = request.run(self._gate, handle, c.lib.vecdb_search, byref(out))
                except BaseException:  # Ctrl-C at the end of a search that had done its work
                    c.lib.vecdb_result_free(byref(out))
                    raise
                name = self._primary().name
                wanted = wants(name, request.output)
                return search_result(out, status == c.EXHAUSTED, name, wanted)
            if key is not None:
                self._prepare(key, handle, queries, limit, options)
            return self._search_into(handle, request)

    def _search_into(self, handle: Any, request: Request) -> Result:
        """A search without output fields, written straight into the arrays that the caller gets."""
        nq, limit = request.query_count, request.limit
        np = numpy()
        if np is None:
            return self._search_lists(handle, request)
        ids = np.empty((nq, limit), np.int64)
        distances = np.empty((nq, limit), np.float32)
        counts = np.zeros(nq, np.uintp)
        addresses = (ids.ctypes.data, distances.ctypes.data, counts.ctypes.data)
        request.keep += (ids, distances, counts)  # the library writes to their addresses
        status = request.run(self._gate, handle, c.lib.vecdb_search_into, *addresses)
        if status != c.EXHAUSTED:
            return Result(ids, distances)
        width = int(counts.max())
        return Result(ids[:, :width].copy(), distances[:, :width].copy(), True, counts.tolist())

    def _search_lists(self, handle: Any, request: Request) -> Result:
        from ctypes import c_float, c_int64

        nq, limit = request.query_count, request.limit
        keys, scores, counts = (c_int64 * (nq * limit))(), (c_float * (nq * limit))(), (c_size_t * nq)()
        status = request.run(self._gate, handle, c.lib.vecdb_search_into, keys, scores, counts)
        starts = range(0, nq * limit, max(1, limit))
        ids = [list(keys[start : start + count]) for start, count in zip(starts, counts)]
        distances = [list(scores[start : start + count]) for start, count in zip(starts, counts)]
        return Result(ids, distances, status == c.EXHAUSTED, list(counts))

    def _prepare(self, key: Any, handle: Any, queries: Any, limit: int, options: Dict[str, Any]) -> None:
        """Make a plan for searches like this one, when it is of the kind that plans are for."""
        np = numpy()
        if np is None or not isinstance(queries, np.ndarray) or queries.ndim != 1:
            return
        if queries.dtype != np.float32 and queries.dtype != np.float64:
            return
        field = vector_field(self._schema, options["field"])
        if options["ids"] is not None or queries.shape != (field.dim,) or not 0 < limit <= 16384:
            return
        if getattr(options["filter"], "_handle", None) is not None:
            return  # a plan would outlive the compiled filter
        try:
            stack = self._plans.get(key)
        except TypeError:  # something in it cannot be hashed: a list of partitions, a dict of parameters
            return
        if stack is None:
            if len(self._plans) >= 64:  # parameters that never repeat must not pile up
                return
            stack = self._plans.setdefault(key, [])
        query = np.array(queries, np.float32)
        plan = Plan(np, handle.value, Request(self._schema, query, limit, **options), query)
        with self._plan_lock:
            self._plan_count += 1
        stack.append(plan)

    def hybrid_search(
        self,
        searches: Sequence[Search],
        limit: int = 10,
        *,
        ranker: str = "rrf",
        k: float = 60,
        weights: Optional[Sequence[float]] = None,
        normalize: bool = True,
        offset: int = 0,
        output_fields: Names = None,
        round_decimal: int = -1,
    ) -> Result:
        """Several searches, over one or more vector fields, merged into one ranking.

        ranker "rrf" adds 1 / (k + rank); "weighted" adds weights times scores, brought to 0..1 unless normalize=False.
        Distances of the result are these fused scores: larger is better.
        """
        if not searches:
            raise InvalidError("hybrid_search needs at least one search")
        if weights is not None and ranker == "rrf":
            ranker = "weighted"
        with self._gate as handle:
            requests = [search.request(self._schema) for search in searches]
            output = name_list("output_fields", output_fields)
            struct, keep = hybrid_request(
                requests, ranker, k, weights, normalize, limit, offset, output, round_decimal
            )
            out = c_void_p()
            status = check(c.lib.vecdb_hybrid_search(handle, byref(struct), byref(out)))
            del keep
            name = self._primary().name
            wanted = wants(name, output)
            return search_result(out, status == c.EXHAUSTED, name, wanted)

    def explain(self, queries: Any = None, limit: int = 10, **options: Any) -> Dict[str, Any]:
        """How a search with these arguments would run, and what it costs; without queries, how its filter would."""
        out = c_void_p()
        with self._gate as handle:
            if queries is None:
                request = Request.of_filter(**options)
            else:
                request = Search(queries, limit, **options).request(self._schema)
            check(c.lib.vecdb_explain(handle, byref(request.struct), byref(out)))
            plan: Dict[str, Any] = json.loads(c.take_text(out))
            return plan

    # -- reading rows --------------------------------------------------------------------------------------------

    def get(self, ids: Any, output_fields: Names = None, *, as_columns: bool = False) -> Any:
        """Rows with these keys, in their order; keys that are not there are left out."""
        output = name_list("output_fields", output_fields)
        with self._gate as handle:
            keys = encode_keys(self._primary(), ids)
            if not keys.rows:
                return {} if as_columns else []
            column = c.ColumnStruct()
            keys.fill(column)
            names = c.text_array(output) if output else None
            out = c_void_p()
            check(
                c.lib.vecdb_get(handle, byref(column), keys.rows, names, len(output) if output else 0, byref(out))
            )
            if not out.value:
                return {} if as_columns else []
            return query_rows(out, as_columns=as_columns)

    def query(
        self,
        filter: Optional[str] = None,
        output_fields: Names = None,
        *,
        limit: Optional[int] = None,
        offset: int = 0,
        order_by: Optional[str] = None,
        filter_params: Params = None,
        partitions: Names = None,
        as_columns: bool = False,
    ) -> Any:
        """Rows that match a filter, all of them by default, in the order of their keys or of order_by ("year desc, title").

        A list of dicts, or with as_columns a dict of columns (numpy arrays where nothing is missing).
        """
        with self._gate as handle:
            struct, keep = self._query_request(
                filter, output_fields, limit, offset, order_by, filter_params, partitions
            )
            out = c_void_p()
            check(c.lib.vecdb_query(handle, byref(struct), byref(out)))
            del keep
            return query_rows(out, as_columns=as_columns)

    def _query_request(
        self,
        filter: Optional[str],
        output_fields: Names,
        limit: Optional[int],
        offset: int,
        order_by: Optional[str],
        filter_params: Params,
        partitions: Names,
    ) -> Tuple[c.QueryRequest, List[Any]]:
        struct = c.new_query_request()
        keep: List[Any] = []
        struct.filter = c.text(filter)
        struct.filter_params = filter_params_text(filter_params)
        output = name_list("output_fields", output_fields)
        if output:
            names = c.text_array(output)
            keep.append(names)
            struct.output_fields = names
            struct.output_count = len(output)
        chosen = name_list("partitions", partitions)
        if chosen is not None:
            if not chosen:
                raise InvalidError("partitions is an empty list: name at least one, or leave it out for all")
            names = c.text_array(chosen)
            keep.append(names)
            struct.partitions = names
            struct.partition_count = len(chosen)
        struct.limit = 0 if limit is None else whole("limit", limit, 1)
        struct.offset = whole("offset", offset)
        struct.order_by = c.text(order_by)
        return struct, keep

    def count(self, filter: Optional[str] = None, *, filter_params: Params = None) -> int:
        """Number of rows that match; all rows without a filter."""
        out = c_uint64()
        with self._gate as handle:
            check(c.lib.vecdb_count(handle, c.text(filter), filter_params_text(filter_params), byref(out)))
        return int(out.value)

    def __len__(self) -> int:
        return self.count()

    def __bool__(self) -> bool:
        return True  # an empty collection is still one

    def search_iterator(
        self, query: Any, batch_size: int = 1000, *, limit: Optional[int] = None, output_fields: Names = None, **options: Any
    ) -> "SearchIterator":
        """Read a search page by page, best first, over the rows as they are now. Each page is a Hits."""
        with self._gate as handle:
            known = dict(options)
            search = Search(query, whole("batch_size", batch_size, 1) if limit is None else whole("limit", limit, 1), **known)
            request = search.request(self._schema)
            if request.query_count != 1:
                raise InvalidError(f"search_iterator takes one query vector, got {request.query_count}")
            output, loose = self._cursor_fields(output_fields)
            if output:
                names = c.text_array(output)
                request.keep.append(names)
                request.struct.output_fields = names
                request.struct.output_count = len(output)
            out = c_void_p()
            check(c.lib.vecdb_search_cursor(handle, byref(request.struct), byref(out)))
            name = self._primary().name
            wanted = wants(name, output)
            return SearchIterator(self, out, whole("batch_size", batch_size, 1), limit, name, wanted, loose)

    def _cursor_fields(self, fields: Names) -> Tuple[Optional[List[str]], List[str]]:
        """Output fields of a cursor, which gives the dynamic field whole only, and the keys to take out of that."""
        output = name_list("output_fields", fields)
        if not output or not self._schema.dynamic:
            return output, []
        loose = [name for name in output if name not in self._schema and name not in ("*", META)]
        if not loose or "*" in output or META in output:
            return [name for name in output if name not in loose] or output, []
        return [name for name in output if name not in loose] + [META], loose

    def query_iterator(
        self,
        filter: Optional[str] = None,
        output_fields: Names = None,
        batch_size: int = 1000,
        *,
        limit: Optional[int] = None,
        offset: int = 0,
        order_by: Optional[str] = None,
        filter_params: Params = None,
        partitions: Names = None,
        as_columns: bool = False,
    ) -> "QueryIterator":
        """Read a query page by page over the rows as they are now. Each page is a list of dicts, or a dict of columns."""
        with self._gate as handle:
            output, loose = self._cursor_fields(output_fields)
            struct, keep = self._query_request(filter, output, limit, offset, order_by, filter_params, partitions)
            out = c_void_p()
            check(c.lib.vecdb_query_cursor(handle, byref(struct), byref(out)))
            del keep
            return QueryIterator(self, out, whole("batch_size", batch_size, 1), as_columns, loose)

    def compile_filter(self, filter: str, filter_params: Params = None) -> "Filter":
        """Parse a filter once, to use it in many searches or to try it on rows that are not in the collection."""
        out = c_void_p()
        with self._gate as handle:
            check(c.lib.vecdb_filter_compile(handle, c.text(filter), filter_params_text(filter_params), byref(out)))
            return Filter(self, out, filter)

    # -- indexes -------------------------------------------------------------------------------------------------

    def create_index(
        self,
        field: str,
        type: Optional[str] = None,
        *,
        metric_type: Union[str, int, Metric, None] = None,
        name: Optional[str] = None,
        params: Params = None,
        progress: Optional[ProgressLike] = None,
        **build_params: Any,
    ) -> None:
        """Define an index and build it for the rows there are; later rows are indexed as they come.

        type is "HNSW", "IVF_FLAT", ... ("INVERTED", "BITMAP", ... on scalars); None chooses one. Further names are its
        parameters: M=16, efConstruction=200; json_path='meta["lang"]' on JSON. progress(stage, done, total) or a tqdm bar shows how far it is.
        """
        options = c.IndexOptions()
        options.size = sizeof(c.IndexOptions)
        options.field = c.text(field)
        options.name = c.text(name) if name else None
        options.type = c.text(type) if type else None
        options.metric = int(metric(metric_type))
        options.params = params_text(params, build_params)
        with self._gate as handle, Progress(progress) as watcher:
            options.progress = watcher.callback
            watcher.check(c.lib.vecdb_index_create(handle, byref(options)))

    def field_stats(self, field: str, *, json_path: Optional[str] = None, max_unique: int = 100) -> Dict[str, Any]:
        """What is in a field: rows, null_count, distinct_count, min, max, and unique_values when there are not too many.

        Of an ARRAY its elements count; of JSON, what is at json_path, as in 'meta["lang"]'.
        """
        out = c_void_p()
        params = params_text(None, {"json_path": json_path} if json_path else {})
        with self._gate as handle:
            check(c.lib.vecdb_field_stats(handle, c.text(field), params, max_unique, byref(out)))
            stats: Dict[str, Any] = json.loads(c.take_text(out))
            return stats

    def drop_index(self, name: str) -> None:
        """Drop an index by its name or its field's; searches then scan."""
        with self._gate as handle:
            check(c.lib.vecdb_index_drop(handle, c.text(name)))

    def indexes(self) -> List[Dict[str, Any]]:
        """All indexes: name, field, type, metric, params, rows indexed, bytes, state."""
        names, count = c_void_p(), c_size_t()
        with self._gate as handle:
            check(c.lib.vecdb_index_list(handle, byref(names), byref(count)))
        return [self.index(name) for name in c.take_names(names, count.value)]

    def index(self, name: str) -> Dict[str, Any]:
        """One index by its name or its field's."""
        out = c_void_p()
        with self._gate as handle:
            check(c.lib.vecdb_index_describe(handle, c.text(name), byref(out)))
            found: Dict[str, Any] = json.loads(c.take_text(out))
            return found

    # -- partitions ----------------------------------------------------------------------------------------------

    def create_partition(self, name: str) -> None:
        """Add a partition, for rows that are to be searched or dropped apart."""
        with self._gate as handle:
            check(c.lib.vecdb_partition_create(handle, c.text(name)))

    def drop_partition(self, name: str) -> None:
        """Drop a partition and its rows."""
        with self._gate as handle:
            check(c.lib.vecdb_partition_drop(handle, c.text(name)))

    def partitions(self) -> List[str]:
        """Names of the partitions, "_default" first."""
        names, count = c_void_p(), c_size_t()
        with self._gate as handle:
            check(c.lib.vecdb_partition_list(handle, byref(names), byref(count)))
        return c.take_names(names, count.value)

    # -- upkeep --------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write growing rows into a sealed segment. Never needed for safety."""
        with self._gate as handle:
            check(c.lib.vecdb_flush(handle))

    def optimize(self, progress: Optional[ProgressLike] = None) -> None:
        """Merge segments, drop deleted rows, build all indexes: the collection at its fastest and smallest."""
        with self._gate as handle, Progress(progress) as watcher:
            watcher.check(c.lib.vecdb_optimize(handle, watcher.callback, None))

    def load(self, progress: Optional[ProgressLike] = None) -> None:
        """Bring vectors, keys and indexes into memory before they are asked for."""
        with self._gate as handle, Progress(progress) as watcher:
            watcher.check(c.lib.vecdb_load(handle, watcher.callback, None))

    def release(self) -> None:
        """Give back the memory that load() took. Searching goes on, from the files."""
        with self._gate as handle:
            check(c.lib.vecdb_release(handle))

    def stats(self) -> Dict[str, Any]:
        """Facts: rows, deleted, segments, indexes, bytes, memory."""
        out = c_void_p()
        with self._gate as handle:
            check(c.lib.vecdb_collection_stats(handle, byref(out)))
            facts: Dict[str, Any] = json.loads(c.take_text(out))
            return facts

    def verify(self, progress: Optional[ProgressLike] = None) -> Dict[str, Any]:
        """Check every file of the database this collection is in; see vecdb.verify."""
        return self._database.verify(progress)

    # -- tables --------------------------------------------------------------------------------------------------

    def to_pandas(self, filter: Optional[str] = None, output_fields: Names = None, **options: Any) -> Any:
        """Rows as a pandas DataFrame; takes what query() takes."""
        from ._tables import to_pandas

        return to_pandas(self.query(filter, output_fields, as_columns=True, **options))

    def to_arrow(self, filter: Optional[str] = None, output_fields: Names = None, **options: Any) -> Any:
        """Rows as a pyarrow Table, vectors as fixed-size lists; takes what query() takes."""
        from ._tables import to_arrow

        return to_arrow(self._schema, self.query(filter, output_fields, as_columns=True, **options))


def wants(name: str, output: Optional[List[str]]) -> bool:
    """Whether the output fields name this one, or all."""
    return output is not None and (name in output or "*" in output)


def _no_queries(int64_key: bool) -> Result:
    np = numpy()
    if np is None:
        return Result([], [], False, [])
    return Result(np.empty((0, 0), np.int64 if int64_key else object), np.empty((0, 0), np.float32), False, [])


def _keys_of(primary: Field, data: Any, batch: Batch) -> Any:
    """The keys of the rows just written, in the form they were given in."""
    np = numpy()
    if isinstance(data, MappingABC):
        keys = data.get(primary.name)
    elif hasattr(data, "columns") or hasattr(data, "schema"):
        keys = data[primary.name]
        keys = keys.to_pylist() if hasattr(keys, "to_pylist") else keys.tolist()
    else:
        keys = [row.get(primary.name) for row in data] if batch.rows else []
    if keys is None:
        keys = []
    if np is not None and primary.type == DataType.INT64:
        return np.array(keys, dtype=np.int64)
    return keys.tolist() if hasattr(keys, "tolist") else list(keys)


class Filter(Unique):
    """A parsed filter, bound to its collection: for many searches, or to try on rows with match()."""

    def __init__(self, collection: Collection, handle: c_void_p, text: str) -> None:
        self._collection = collection
        self._handle: Optional[c_void_p] = handle
        self.text = text
        collection._children.add(self)

    def match(self, rows: Any) -> List[bool]:
        """For each row, whether the filter is true for it. The rows need not be in the collection."""
        from ctypes import c_uint8

        batch = encode_batch(self._collection.schema, rows)
        struct, keep = batch.structs(0, batch.rows, None)
        matches = (c_uint8 * max(1, batch.rows))()
        with self._collection._gate:  # so that closing the collection waits
            if self._handle is None:
                raise MisuseError("the filter is closed")
            check(c.lib.vecdb_filter_match(self._handle, byref(struct), matches))
        del keep
        return [value != 0 for value in matches[: batch.rows]]

    def close(self) -> None:
        """Give the parsed filter back. Searches that use it must have ended."""
        handle, self._handle = self._handle, None
        if handle is not None:
            c.lib.vecdb_filter_free(byref(handle))

    def __enter__(self) -> "Filter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        try:
            self.close()
        except Exception:
            pass

    def __repr__(self) -> str:
        return f"<vecdb.Filter {self.text!r}>"


class _Cursor(Unique):
    """A position in a search or query. For one thread at a time; close() when done early."""

    def __init__(self, collection: Collection, handle: c_void_p, batch_size: int) -> None:
        self._collection = collection
        self._handle: Optional[c_void_p] = handle
        self._closing = threading.Lock()
        self.batch_size = batch_size
        collection._children.add(self)

    def _page(self, count: int) -> Optional[Tuple[c_void_p, bool]]:
        """The next result, None after the last."""
        out = c_void_p()
        with self._closing:
            if self._handle is None:
                return None
            with self._collection._gate:  # so that closing the collection waits
                status = check(c.lib.vecdb_cursor_next(self._handle, count, byref(out)))
        if not out.value:
            self.close()
            return None
        if status == c.EXHAUSTED and not c.lib.vecdb_result_rows(out, 0, None):
            c.lib.vecdb_result_free(byref(out))
            self.close()
            return None
        return out, status == c.EXHAUSTED

    def close(self) -> None:
        """Give the position back before the last page. Not needed after that."""
        with self._closing:
            handle, self._handle = self._handle, None
            if handle is not None:
                c.lib.vecdb_cursor_close(byref(handle))

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        try:
            self.close()
        except Exception:
            pass


class SearchIterator(_Cursor):
    """Pages of a search; each is a Hits."""

    def __init__(
        self,
        collection: Collection,
        handle: c_void_p,
        batch_size: int,
        limit: Optional[int],
        key_name: str,
        want_key: bool,
        loose: Sequence[str] = (),
    ) -> None:
        super().__init__(collection, handle, batch_size)
        self._loose = loose
        self._left = limit
        self._key_name = key_name
        self._want_key = want_key

    def __enter__(self) -> "SearchIterator":
        return self

    def __iter__(self) -> Iterator[Hits]:
        return self

    def __next__(self) -> Hits:
        page = self.next_page()
        if page is None:
            raise StopIteration
        return page

    def next_page(self, count: Optional[int] = None) -> Optional[Hits]:
        """The next hits, at most batch_size of them or `count`; None after the last."""
        count = self.batch_size if count is None else whole("count", count, 1)
        if self._left is not None:
            count = min(count, self._left)
        if not count:
            self.close()
            return None
        page = self._page(count)
        if page is None:
            return None
        hits = search_result(page[0], page[1], self._key_name, self._want_key, self._loose)[0]
        if self._left is not None:
            self._left -= len(hits)
        if not len(hits):
            self.close()
            return None
        return hits


class QueryIterator(_Cursor):
    """Pages of a query; each is a list of dicts, or a dict of columns."""

    def __init__(
        self, collection: Collection, handle: c_void_p, batch_size: int, as_columns: bool, loose: Sequence[str] = ()
    ) -> None:
        super().__init__(collection, handle, batch_size)
        self._loose = loose
        self._as_columns = as_columns

    def __enter__(self) -> "QueryIterator":
        return self

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        page = self._page(self.batch_size)
        if page is None:
            raise StopIteration
        return query_rows(page[0], as_columns=self._as_columns, loose=self._loose)


__all__ = ["Collection", "Filter", "NotFoundError", "FieldTypeError", "QueryIterator", "SearchIterator"]
