"""The C library: finding and loading it, its structs and its functions.

Nothing here knows about Python values; the rest of the package builds on it. The structs repeat include/vecdb.h, and
tests/python/test_library.py compares their layout with what a C compiler makes of that header.
"""

from __future__ import annotations

import ctypes
import os
import sys
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_bool,
    c_char,
    c_char_p,
    c_double,
    c_float,
    c_int32,
    c_int64,
    c_size_t,
    c_uint8,
    c_uint32,
    c_uint64,
    c_void_p,
    sizeof,
)
from pathlib import Path
from typing import Any, List, Optional

from ._errors import InvalidError, UnsupportedError

# -- status ------------------------------------------------------------------------------------------------------

OK = 0
NOT_FOUND = 1
EXHAUSTED = 2
ERR_INVALID = -1
ERR_DIM = -2
ERR_TYPE = -3
ERR_EXISTS = -4
ERR_NO_SUCH = -5
ERR_FILTER = -6
ERR_LIMIT = -7
ERR_NOMEM = -8
ERR_IO = -9
ERR_FULL = -10
ERR_CORRUPT = -11
ERR_BUSY = -12
ERR_READONLY = -13
ERR_VERSION = -14
ERR_POISONED = -15
ERR_MISUSE = -16
ERR_CANCELLED = -17
ERR_UNSUPPORTED = -18

# -- flags and limits --------------------------------------------------------------------------------------------

PRIMARY_KEY = 1
AUTO_ID = 2
NULLABLE = 4
PARTITION_KEY = 8

OPEN_READ_ONLY = 1
OPEN_NO_CREATE = 2
OPEN_IN_HEAP = 4

MAX_BATCH_BYTES = 67108864
NO_ROW = 0xFFFFFFFFFFFFFFFF

# -- structs -----------------------------------------------------------------------------------------------------

Progress = CFUNCTYPE(c_bool, c_void_p, c_char_p, c_uint64, c_uint64)
NO_PROGRESS = Progress()


class Error(Structure):
    _fields_ = [("size", c_uint32), ("status", c_int32), ("system", c_int32), ("message", c_char * 500)]


class FieldStruct(Structure):
    _fields_ = [
        ("name", c_char_p),
        ("type", c_uint32),
        ("flags", c_uint32),
        ("dim", c_uint32),
        ("max_length", c_uint32),
        ("max_capacity", c_uint32),
        ("element_type", c_uint32),
        ("default_value", c_char_p),
        ("description", c_char_p),
        ("reserved", c_uint64 * 2),
    ]


class SchemaStruct(Structure):
    _fields_ = [
        ("size", c_uint32),
        ("field_size", c_uint32),
        ("name", c_char_p),
        ("description", c_char_p),
        ("fields", POINTER(FieldStruct)),
        ("field_count", c_size_t),
        ("dynamic", c_bool),
        ("ttl_field", c_char_p),
        ("num_partitions", c_uint32),
        ("ttl_seconds", c_uint64),
    ]


class StringStruct(Structure):
    _fields_ = [("data", c_char_p), ("length", c_size_t)]


class ColumnStruct(Structure):
    _fields_ = [
        ("field", c_char_p),
        ("type", c_uint32),
        ("element_type", c_uint32),
        ("dim", c_uint32),
        ("stride", c_size_t),
        ("data", c_void_p),
        ("offsets", c_void_p),
        ("valid", c_void_p),
        ("reserved", c_uint64 * 2),
    ]


class BatchStruct(Structure):
    _fields_ = [
        ("size", c_uint32),
        ("column_size", c_uint32),
        ("columns", POINTER(ColumnStruct)),
        ("column_count", c_size_t),
        ("row_count", c_size_t),
        ("partition", c_char_p),
    ]


class OpenOptions(Structure):
    _fields_ = [
        ("size", c_uint32),
        ("flags", c_uint32),
        ("durability", c_uint32),
        ("threads", c_uint32),
        ("memory_limit", c_uint64),
        ("lock_timeout_ms", c_uint32),
        ("fresh_rows", c_uint32),
    ]


class WriteOptions(Structure):
    _fields_ = [
        ("size", c_uint32),
        ("durability", c_uint32),
        ("auto_ids", c_void_p),
        ("affected", c_uint64),
        ("bad_row", c_uint64),
    ]


class IndexOptions(Structure):
    _fields_ = [
        ("size", c_uint32),
        ("field", c_char_p),
        ("name", c_char_p),
        ("type", c_char_p),
        ("metric", c_uint32),
        ("params", c_char_p),
        ("progress", Progress),
        ("context", c_void_p),
    ]


class ParamInfo(Structure):
    _fields_ = [
        ("size", c_uint32),
        ("index", c_char_p),
        ("name", c_char_p),
        ("meaning", c_char_p),
        ("choices", c_char_p),
        ("low", c_double),
        ("high", c_double),
        ("default_value", c_double),
        ("for_search", c_bool),
    ]


class SearchRequest(Structure):
    _fields_ = [
        ("size", c_uint32),
        ("field", c_char_p),
        ("queries", c_void_p),
        ("query_type", c_uint32),
        ("dim", c_uint32),
        ("query_count", c_size_t),
        ("query_stride", c_size_t),
        ("limit", c_size_t),
        ("offset", c_size_t),
        ("metric", c_uint32),
        ("filter", c_char_p),
        ("filter_params", c_char_p),
        ("compiled", c_void_p),
        ("output_fields", POINTER(c_char_p)),
        ("output_count", c_size_t),
        ("partitions", POINTER(c_char_p)),
        ("partition_count", c_size_t),
        ("within_keys", POINTER(ColumnStruct)),
        ("within_count", c_size_t),
        ("params", c_char_p),
        ("has_radius", c_bool),
        ("has_range_filter", c_bool),
        ("radius", c_double),
        ("range_filter", c_double),
        ("group_by", c_char_p),
        ("group_size", c_size_t),
        ("strict_group_size", c_bool),
        ("round_decimal", c_int32),
        ("timeout_ms", c_uint32),
        ("exact", c_bool),
        ("query_filters", POINTER(c_char_p)),
        ("cancel", POINTER(c_int32)),
        ("query_offsets", c_void_p),
    ]


class HybridRequest(Structure):
    _fields_ = [
        ("size", c_uint32),
        ("searches", POINTER(POINTER(SearchRequest))),
        ("search_count", c_size_t),
        ("ranker", c_char_p),
        ("rrf_k", c_double),
        ("weights", POINTER(c_double)),
        ("raw_scores", c_bool),
        ("limit", c_size_t),
        ("offset", c_size_t),
        ("output_fields", POINTER(c_char_p)),
        ("output_count", c_size_t),
        ("round_decimal", c_int32),
    ]


class QueryRequest(Structure):
    _fields_ = [
        ("size", c_uint32),
        ("filter", c_char_p),
        ("filter_params", c_char_p),
        ("output_fields", POINTER(c_char_p)),
        ("output_count", c_size_t),
        ("partitions", POINTER(c_char_p)),
        ("partition_count", c_size_t),
        ("limit", c_size_t),
        ("offset", c_size_t),
        ("order_by", c_char_p),
    ]


def new_search_request() -> SearchRequest:
    """A request with the defaults of VECDB_SEARCH_REQUEST_INIT."""
    request = SearchRequest()
    request.size = sizeof(SearchRequest)
    request.limit = 10
    request.round_decimal = -1
    return request


def new_hybrid_request() -> HybridRequest:
    request = HybridRequest()
    request.size = sizeof(HybridRequest)
    request.ranker = b"rrf"
    request.limit = 10
    request.round_decimal = -1
    return request


def new_query_request() -> QueryRequest:
    request = QueryRequest()
    request.size = sizeof(QueryRequest)
    return request


# -- functions ---------------------------------------------------------------------------------------------------

_P = c_void_p  # a handle, or a pointer that Python code passes as it is
_OUT = POINTER(c_void_p)
_TEXT = c_char_p
_SIZE = c_size_t
_STATUS = c_int32

_PROTOTYPES = {
    "vecdb_status_name": (c_char_p, [_STATUS]),
    "vecdb_last_error": (c_char_p, []),
    "vecdb_version": (c_char_p, []),
    "vecdb_version_number": (c_uint32, []),
    "vecdb_simd_name": (c_char_p, []),
    "vecdb_has_feature": (c_bool, [_TEXT]),
    "vecdb_open": (_STATUS, [_TEXT, POINTER(OpenOptions), _OUT]),
    "vecdb_close": (_STATUS, [_OUT]),
    "vecdb_db_error": (_STATUS, [_P, POINTER(Error)]),
    "vecdb_sync": (_STATUS, [_P]),
    "vecdb_refresh": (_STATUS, [_P]),
    "vecdb_db_stats": (_STATUS, [_P, _OUT]),
    "vecdb_free": (None, [_P]),
    "vecdb_verify": (_STATUS, [_TEXT, Progress, _P, _OUT]),
    "vecdb_backup": (_STATUS, [_P, _TEXT, Progress, _P]),
    "vecdb_repair": (_STATUS, [_TEXT, Progress, _P, _OUT]),
    "vecdb_collection_create": (_STATUS, [_P, POINTER(SchemaStruct), _OUT]),
    "vecdb_collection_open": (_STATUS, [_P, _TEXT, _OUT]),
    "vecdb_collection_close": (_STATUS, [_OUT]),
    "vecdb_collection_drop": (_STATUS, [_P, _TEXT]),
    "vecdb_collection_rename": (_STATUS, [_P, _TEXT, _TEXT]),
    "vecdb_collection_list": (_STATUS, [_P, _OUT, POINTER(_SIZE)]),
    "vecdb_collection_error": (_STATUS, [_P, POINTER(Error)]),
    "vecdb_collection_schema": (_STATUS, [_P, POINTER(POINTER(SchemaStruct))]),
    "vecdb_collection_stats": (_STATUS, [_P, _OUT]),
    "vecdb_field_stats": (_STATUS, [_P, _TEXT, _TEXT, c_size_t, _OUT]),
    "vecdb_collection_add_field": (_STATUS, [_P, POINTER(FieldStruct)]),
    "vecdb_collection_set_ttl": (_STATUS, [_P, c_uint64]),
    "vecdb_collection_truncate": (_STATUS, [_P]),
    "vecdb_alias_set": (_STATUS, [_P, _TEXT, _TEXT, c_bool]),
    "vecdb_alias_drop": (_STATUS, [_P, _TEXT]),
    "vecdb_alias_list": (_STATUS, [_P, _TEXT, _OUT, POINTER(_SIZE)]),
    "vecdb_partition_create": (_STATUS, [_P, _TEXT]),
    "vecdb_partition_drop": (_STATUS, [_P, _TEXT]),
    "vecdb_partition_list": (_STATUS, [_P, _OUT, POINTER(_SIZE)]),
    "vecdb_insert": (_STATUS, [_P, POINTER(BatchStruct), POINTER(WriteOptions)]),
    "vecdb_upsert": (_STATUS, [_P, POINTER(BatchStruct), POINTER(WriteOptions)]),
    "vecdb_delete": (_STATUS, [_P, POINTER(ColumnStruct), _SIZE, POINTER(WriteOptions)]),
    "vecdb_delete_where": (_STATUS, [_P, _TEXT, _TEXT, POINTER(WriteOptions)]),
    "vecdb_index_create": (_STATUS, [_P, POINTER(IndexOptions)]),
    "vecdb_index_drop": (_STATUS, [_P, _TEXT]),
    "vecdb_index_list": (_STATUS, [_P, _OUT, POINTER(_SIZE)]),
    "vecdb_index_describe": (_STATUS, [_P, _TEXT, _OUT]),
    "vecdb_param_at": (_STATUS, [_SIZE, POINTER(ParamInfo)]),
    "vecdb_search": (_STATUS, [_P, POINTER(SearchRequest), _OUT]),
    "vecdb_search_into": (_STATUS, [_P, POINTER(SearchRequest), _P, _P, _P]),
    "vecdb_hybrid_search": (_STATUS, [_P, POINTER(HybridRequest), _OUT]),
    "vecdb_query": (_STATUS, [_P, POINTER(QueryRequest), _OUT]),
    "vecdb_get": (_STATUS, [_P, POINTER(ColumnStruct), _SIZE, POINTER(_TEXT), _SIZE, _OUT]),
    "vecdb_count": (_STATUS, [_P, _TEXT, _TEXT, POINTER(c_uint64)]),
    "vecdb_search_cursor": (_STATUS, [_P, POINTER(SearchRequest), _OUT]),
    "vecdb_query_cursor": (_STATUS, [_P, POINTER(QueryRequest), _OUT]),
    "vecdb_cursor_next": (_STATUS, [_P, _SIZE, _OUT]),
    "vecdb_cursor_close": (None, [_OUT]),
    "vecdb_filter_compile": (_STATUS, [_P, _TEXT, _TEXT, _OUT]),
    "vecdb_filter_match": (_STATUS, [_P, POINTER(BatchStruct), _P]),
    "vecdb_filter_free": (None, [_OUT]),
    "vecdb_mmr": (_STATUS, [_P, POINTER(ColumnStruct), c_size_t, c_uint32, c_double, c_size_t, _P, _P]),
    "vecdb_explain": (_STATUS, [_P, POINTER(SearchRequest), _OUT]),
    "vecdb_result_query_count": (_SIZE, [_P]),
    "vecdb_result_rows": (_SIZE, [_P, _SIZE, POINTER(_SIZE)]),
    "vecdb_result_column": (_STATUS, [_P, _TEXT, POINTER(ColumnStruct)]),
    "vecdb_result_column_at": (_STATUS, [_P, _SIZE, POINTER(ColumnStruct)]),
    "vecdb_result_free": (None, [_OUT]),
    "vecdb_flush": (_STATUS, [_P]),
    "vecdb_optimize": (_STATUS, [_P, Progress, _P]),
    "vecdb_load": (_STATUS, [_P, Progress, _P]),
    "vecdb_release": (_STATUS, [_P]),
}


def _suffix() -> str:
    if sys.platform == "darwin":
        return ".dylib"
    return ".dll" if sys.platform == "win32" else ".so"


def library_candidates() -> List[str]:
    """Where the library is looked for, in order."""
    chosen = os.environ.get("VECDB_LIBRARY")
    if chosen:
        return [chosen]
    here = Path(__file__).resolve().parent
    name = "libvecdb" + _suffix()
    found = [str(here / "lib" / bundled) for bundled in ("libvecdb.so.0", name)]
    if (here.parent.parent.parent / "include" / "vecdb.h").is_file():  # running from a source tree
        found.append(str(here.parent.parent.parent / "build" / name))
    found.append(name)  # the system's own search path
    return found


def _load() -> "ctypes.CDLL":
    tried = []
    for candidate in library_candidates():
        if os.sep in candidate and not os.path.exists(candidate):
            tried.append(f"{candidate}: no such file")
            continue
        try:
            return ctypes.CDLL(candidate)
        except OSError as problem:
            tried.append(str(problem))
    raise ImportError(
        "vecdb: the C library could not be loaded (VECDB_LIBRARY names another):\n  " + "\n  ".join(tried)
    )


def _absent(name: str) -> Any:
    def call(*_: Any) -> Any:
        raise UnsupportedError(f"the loaded vecdb library, {VERSION}, is older than this package: it has no {name}")

    return call


def _declare(library: "ctypes.CDLL") -> None:
    for name, (result, arguments) in _PROTOTYPES.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            if name in ("vecdb_open", "vecdb_search", "vecdb_version_number"):
                raise ImportError(f"vecdb: {library._name} is not vecdb's library: it has no {name}") from None
            setattr(library, name, _absent(name))  # an older library: the rest of it works
            continue
        function.restype = result
        function.argtypes = arguments


lib: Any = _load()
_declare(lib)

# One more view of the hottest call, without argument types: it is given ready-made ctypes objects only, and skipping
# the conversion of each saves a microsecond in a call of a few.
search_into_raw: Any = ctypes.CDLL(lib._name).vecdb_search_into
search_into_raw.restype = _STATUS

VERSION: str = lib.vecdb_version().decode()


def text(value: Optional[str]) -> Optional[bytes]:
    """UTF-8 for C. A text with a zero inside would be cut short there, so it is refused."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"expected a string, got {type(value).__name__}: {value!r}")
    try:
        encoded = value.encode("utf-8")
    except UnicodeEncodeError as problem:
        raise InvalidError(f"not Unicode text: {problem}") from None
    if b"\0" in encoded:
        raise InvalidError(f"a NUL character in {value!r}")
    return encoded


def take_text(pointer: c_void_p) -> str:
    """The text a function handed over, freed."""
    if not pointer.value:
        return ""
    try:
        return ctypes.string_at(pointer.value).decode("utf-8")
    finally:
        lib.vecdb_free(pointer)


def take_names(pointer: c_void_p, count: int) -> List[str]:
    """The list of names a function handed over, freed."""
    if not pointer.value:
        return []
    try:
        strings = ctypes.cast(pointer, POINTER(c_char_p))
        return [(strings[i] or b"").decode("utf-8") for i in range(count)]
    finally:
        lib.vecdb_free(pointer)


def text_array(values: List[str]) -> Any:
    """A C array of strings; keep it as long as C may read it."""
    return (c_char_p * len(values))(*[text(value) for value in values])


__all__ = [name for name in dir() if not name.startswith("_")]
