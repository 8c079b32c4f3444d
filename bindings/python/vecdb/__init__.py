"""vecdb: an embedded vector database. One shared library, one directory on disk, no server.

    import numpy as np, vecdb

    db = vecdb.open("films.vecdb")                      # a directory; vecdb.open() alone lives in memory
    films = db.create_collection("films", [
        vecdb.Field("id", "INT64", primary_key=True),
        vecdb.Field("year", "INT32"),
        vecdb.Field("title", "VARCHAR", max_length=200),
        vecdb.Field("embedding", "FLOAT_VECTOR", dim=384),
    ])
    films.insert({"id": ids, "year": years, "title": titles, "embedding": matrix})
    films.create_index("embedding", "HNSW", metric_type="COSINE", M=16, efConstruction=200)
    result = films.search(queries, limit=10, filter="year >= 1990", output_fields=["title"], ef=64)
"""

from __future__ import annotations

from typing import List

from . import _library
from ._collection import Collection, Filter, QueryIterator, SearchIterator
from ._database import Database, open, repair, verify
from ._errors import (
    BusyError,
    CancelledError,
    CorruptError,
    DimError,
    DiskFullError,
    ExistsError,
    FieldTypeError,
    FilterError,
    InvalidError,
    LimitError,
    MisuseError,
    NotFoundError,
    OutOfMemoryError,
    PoisonedError,
    ReadOnlyError,
    StorageError,
    UnsupportedError,
    VecdbError,
    VersionError,
)
from ._result import Hit, Hits, Result
from ._schema import Field, Param, Schema
from ._search import Cancel, Search, mmr
from ._types import DataType, Metric

__version__ = "0.1.0"


def version() -> str:
    """Version of the C library that is running."""
    return _library.VERSION


def simd() -> str:
    """Instruction set in use: "scalar", "avx2", "avx512", "neon". VECDB_SIMD in the environment overrides the choice."""
    name: bytes = _library.lib.vecdb_simd_name()
    return name.decode()


def has_feature(name: str) -> bool:
    """Whether the library has a feature, by name: "index.HNSW", "metric.JACCARD", "simd.avx512"."""
    return bool(_library.lib.vecdb_has_feature(_library.text(name)))


def index_params() -> List[Param]:
    """Every parameter of every index kind, with its range, default and meaning."""
    from ctypes import byref, sizeof

    found: List[Param] = []
    while True:
        info = _library.ParamInfo()
        info.size = sizeof(_library.ParamInfo)
        if _library.lib.vecdb_param_at(len(found), byref(info)) != _library.OK:
            return found
        found.append(
            Param(
                info.index.decode(),
                info.name.decode(),
                (info.meaning or b"").decode(),
                info.choices.decode().split("|") if info.choices else (),
                info.low,
                info.high,
                info.default_value,
                info.for_search,
            )
        )


__all__ = [
    "BusyError",
    "Cancel",
    "CancelledError",
    "Collection",
    "CorruptError",
    "DataType",
    "Database",
    "DimError",
    "DiskFullError",
    "ExistsError",
    "Field",
    "FieldTypeError",
    "Filter",
    "FilterError",
    "Hit",
    "Hits",
    "InvalidError",
    "LimitError",
    "Metric",
    "MisuseError",
    "NotFoundError",
    "OutOfMemoryError",
    "Param",
    "PoisonedError",
    "QueryIterator",
    "ReadOnlyError",
    "Result",
    "Schema",
    "Search",
    "SearchIterator",
    "StorageError",
    "UnsupportedError",
    "VecdbError",
    "VersionError",
    "__version__",
    "has_feature",
    "index_params",
    "mmr",
    "open",
    "repair",
    "simd",
    "verify",
    "version",
]
