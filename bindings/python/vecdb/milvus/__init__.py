"""pymilvus' names over vecdb.

    from vecdb.milvus import MilvusClient, connections, Collection, FieldSchema, CollectionSchema, DataType

Programs written for pymilvus run with their import changed, and after vecdb.milvus.install() without that: it puts
`pymilvus` and its submodules into sys.modules, for code that imports it itself, as LangChain's and LlamaIndex' stores do.

A uri or path is a directory; the address of a server leads to the directory in VECDB_MILVUS_PATH, or "milvus.vecdb".
What a single process cannot have (users, replicas, resource groups) raises MilvusException saying so.
"""

from __future__ import annotations

from typing import Any

from . import db, exceptions, orm, schema, types, utility
from .client import AsyncMilvusClient, MilvusClient
from ._connections import Connections, connections
from .engine import close_memory
from .exceptions import (
    CollectionNotExistException,
    ErrorCode,
    ExceptionsMessage,
    MilvusException,
    MilvusUnavailableException,
    ParamError,
)
from ._install import install, publish, uninstall
from .iterators import QueryIterator, SearchIterator
from .orm import Collection, Index, Partition
from .results import (
    ExtraList,
    Hit,
    Hits,
    HybridExtraList,
    MutationFuture,
    MutationResult,
    SearchFuture,
    SearchPage,
    SearchResult,
)
from .schema import (
    AnnSearchRequest,
    BaseRanker,
    CollectionSchema,
    FieldSchema,
    Function,
    FunctionScore,
    IndexParam,
    IndexParams,
    LexicalHighlighter,
    RRFRanker,
    SemanticHighlighter,
    StructFieldSchema,
    WeightedRanker,
)
from .types import (
    BulkInsertState,
    ConsistencyLevel,
    DataType,
    FieldOp,
    FieldOpType,
    FunctionType,
    Group,
    IndexType,
    LoadState,
    OmitZeroDict,
    Replica,
    ResourceGroupInfo,
    Shard,
    Status,
)
from .utility import (
    drop_collection,
    has_collection,
    has_partition,
    hybridts_to_datetime,
    hybridts_to_unixtime,
    index_building_progress,
    list_collections,
    loading_progress,
    mkts_from_datetime,
    mkts_from_hybridts,
    mkts_from_unixtime,
    wait_for_index_building_complete,
    wait_for_loading_complete,
)

#: The pymilvus whose interface this is.
__version__ = "2.6.17"


class Role:
    """Roles need a server."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise exceptions.unsupported("roles")


class DefaultConfig:
    """Defaults that programs read."""

    MILVUS_URI = "http://localhost:19530"
    DEFAULT_URI = "http://localhost:19530"
    MILVUS_CONN_ALIAS = "default"
    MILVUS_CONN_TIMEOUT = 10.0
    DEFAULT_HOST = "localhost"
    DEFAULT_PORT = "19530"
    DEFAULT_USING = "default"
    EncodeProtocol = "utf-8"


class PyMilvusDeprecationWarning(DeprecationWarning):
    """Never given here; programs filter it."""


def __getattr__(name: str) -> Any:
    value = getattr(utility, name, None)  # functions of utility that pymilvus publishes at its top, too
    if value is None or name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return value


__all__ = [
    "AnnSearchRequest", "AsyncMilvusClient", "BaseRanker", "BulkInsertState", "Collection", "CollectionNotExistException",
    "CollectionSchema", "Connections", "ConsistencyLevel", "DataType", "DefaultConfig", "ErrorCode", "ExceptionsMessage",
    "ExtraList", "FieldOp", "FieldOpType", "FieldSchema", "Function", "FunctionScore", "FunctionType", "Group", "Hit", "Hits", "HybridExtraList",
    "Index", "IndexParam", "IndexParams", "IndexType", "LexicalHighlighter", "LoadState", "MilvusClient", "MilvusException",
    "MilvusUnavailableException", "MutationFuture", "MutationResult", "OmitZeroDict", "ParamError", "Partition",
    "PyMilvusDeprecationWarning", "QueryIterator", "RRFRanker", "Replica", "ResourceGroupInfo", "Role", "SearchFuture",
    "SearchIterator", "SearchPage", "SearchResult", "SemanticHighlighter", "Shard", "Status", "StructFieldSchema",
    "WeightedRanker", "__version__", "close_memory", "connections", "db", "drop_collection", "exceptions", "has_collection",
    "has_partition", "hybridts_to_datetime", "hybridts_to_unixtime", "index_building_progress", "install",
    "list_collections", "loading_progress", "mkts_from_datetime", "mkts_from_hybridts", "mkts_from_unixtime", "orm",
    "schema", "types", "uninstall", "utility", "wait_for_index_building_complete", "wait_for_loading_complete",
]

publish()
