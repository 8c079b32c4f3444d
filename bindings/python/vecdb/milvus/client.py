"""MilvusClient and AsyncMilvusClient."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, TypeVar, Union

from . import engine
from ._connections import Connection, connections
from .exceptions import (
    DataTypeNotMatchException,
    ExceptionsMessage,
    MilvusException,
    ParamError,
    PrimaryKeyException,
    translated,
    unsupported,
)
from .iterators import QueryIterator, SearchIterator
from .results import HybridExtraList, SearchResult
from .schema import (
    AnnSearchRequest,
    CollectionSchema,
    FieldSchema,
    Function,
    IndexParams,
    StructFieldSchema,
    require_schema,
)
from .types import DataType, Group, LoadState, OmitZeroDict

T = TypeVar("T")

#: Methods that only a server can have; each raises MilvusException saying so.
SERVER_ONLY = (
    "create_user drop_user update_password update_user list_users describe_user grant_role revoke_role create_role "
    "alter_role drop_role describe_role list_roles grant_privilege revoke_privilege grant_privilege_v2 revoke_privilege_v2 "
    "create_privilege_group drop_privilege_group list_privilege_groups add_privileges_to_group "
    "remove_privileges_from_group create_resource_group update_resource_groups drop_resource_group "
    "describe_resource_group list_resource_groups transfer_replica update_replicate_configuration "
    "get_replicate_configuration get_replicate_info dump_messages add_collection_function alter_collection_function "
    "drop_collection_function add_function_field add_collection_struct_field drop_collection_field run_analyzer "
    "create_snapshot drop_snapshot list_snapshots describe_snapshot restore_snapshot"
).split()


def _server_only(name: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise unsupported(name)

    method.__name__ = name
    method.__doc__ = "Needs a server; raises MilvusException saying so."
    return method


class MilvusClient:
    """pymilvus' client over a vecdb database.

    uri may be a directory, ":memory:", or the address of a server, which leads to the directory in VECDB_MILVUS_PATH
    ("milvus.vecdb" by default). durability "full" (the default, or what VECDB_MILVUS_DURABILITY says), "normal" or "none"
    is what a write waits for; the first client of a directory decides.
    """

    def __init__(
        self,
        uri: str = "http://localhost:19530",
        user: str = "",
        password: str = "",
        db_name: str = "",
        token: str = "",
        timeout: Optional[float] = None,
        **kwargs: Any,
    ) -> None:
        self._using: str = kwargs.get("alias") or f"vecdb-{id(self):x}"
        self._config = {"uri": str(uri), "db_name": db_name}
        self._connection: Optional[Connection] = connections.add(self._using, str(uri), db_name, kwargs.get("durability"))
        self.is_self_hosted = True

    # -- plumbing ------------------------------------------------------------------------------------------------

    @property
    def _base(self) -> engine.Base:
        if self._connection is None:
            raise MilvusException(1, "should create connection first.")
        return self._connection.base

    def _get_connection(self) -> Connection:
        if self._connection is None:
            raise MilvusException(1, "should create connection first.")
        return self._connection

    def close(self) -> None:
        """Close the files when this is the last client of them."""
        if self._connection is not None:
            self._connection = None
            connections.disconnect(self._using)

    def __enter__(self) -> "MilvusClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- schemas -------------------------------------------------------------------------------------------------

    @classmethod
    def create_schema(cls, **kwargs: Any) -> CollectionSchema:
        """A schema to add fields to: auto_id, enable_dynamic_field, description and so on as CollectionSchema takes
        them.
        """
        kwargs["check_fields"] = False
        return CollectionSchema([], kwargs.pop("description", ""), **kwargs)

    @classmethod
    def create_struct_field_schema(cls) -> StructFieldSchema:
        """A struct field's schema. Collections with one are refused: vecdb has no arrays of structs."""
        return StructFieldSchema()

    @classmethod
    def create_field_schema(cls, name: str, data_type: Any, desc: str = "", **kwargs: Any) -> FieldSchema:
        """A field, to be given to CollectionSchema."""
        return FieldSchema(name, data_type, desc, **kwargs)

    @classmethod
    def prepare_index_params(cls, field_name: str = "", **kwargs: Any) -> IndexParams:
        """Index parameters to add indexes to; with a field name, one of it."""
        params = IndexParams()
        if field_name:
            params.add_index(field_name, **kwargs)
        return params

    # -- collections ---------------------------------------------------------------------------------------------

    def create_collection(
        self,
        collection_name: str,
        dimension: Optional[int] = None,
        primary_field_name: str = "id",
        id_type: Union[str, DataType] = "int",
        vector_field_name: str = "vector",
        metric_type: str = "COSINE",
        auto_id: bool = False,
        timeout: Optional[float] = None,
        schema: Optional[CollectionSchema] = None,
        index_params: Optional[IndexParams] = None,
        **kwargs: Any,
    ) -> None:
        """Create a collection.

        With `dimension` alone the quick form: an id, a vector, dynamic fields, an AUTOINDEX, loaded. With a schema
        and index_params its indexes are built and it is loaded; with a schema alone neither.
        """
        options = {
            "consistency_level": kwargs.get("consistency_level"),
            "num_shards": kwargs.get("num_shards") or kwargs.get("shards_num"),
            "num_partitions": kwargs.get("num_partitions"),
            "properties": kwargs.get("properties"),
        }
        if schema is not None:
            require_schema(schema)
            if "enable_dynamic_field" in kwargs:
                schema.enable_dynamic_field = kwargs["enable_dynamic_field"]
            self._base.create(collection_name, schema, **options)
            if index_params:
                try:
                    self.create_index(collection_name, index_params)
                    self.load_collection(collection_name)
                except MilvusException:
                    raise
            return
        if dimension is None:
            raise TypeError("create_collection() missing required argument: 'dimension'")
        if id_type in ("int", DataType.INT64):
            kind = DataType.INT64
        elif id_type in ("string", "str", DataType.VARCHAR):
            kind = DataType.VARCHAR
        else:
            raise PrimaryKeyException(message=ExceptionsMessage.PrimaryKeyType)
        made = self.create_schema(
            auto_id=auto_id,
            enable_dynamic_field=kwargs.get("enable_dynamic_field", True),
            description=kwargs.get("description", ""),
        )
        more = {"max_length": kwargs.get("max_length", 65535)} if kind == DataType.VARCHAR else {}
        made.add_field(primary_field_name, kind, is_primary=True, **more)
        made.add_field(
            vector_field_name, kwargs.get("vector_field_type", DataType.FLOAT_VECTOR), dim=dimension
        )
        self._base.create(collection_name, made, **options)
        if not index_params:
            index_params = self.prepare_index_params(vector_field_name, metric_type=metric_type)
        self.create_index(collection_name, index_params)
        self.load_collection(collection_name)

    def has_collection(self, collection_name: str, timeout: Optional[float] = None, **kwargs: Any) -> bool:
        """Whether there is a collection or alias of this name."""
        return self._base.has(collection_name)

    def list_collections(self, **kwargs: Any) -> List[str]:
        """Names of the collections in the database in use."""
        return self._base.names()

    def describe_collection(self, collection_name: str, timeout: Optional[float] = None, **kwargs: Any) -> Dict[str, Any]:
        """Fields, aliases, properties and so on, with Milvus' names."""
        return self._base.describe(collection_name)

    def drop_collection(self, collection_name: str, timeout: Optional[float] = None, **kwargs: Any) -> None:
        """Drop a collection, its rows and its aliases; nothing happens when there is none."""
        self._base.drop(collection_name)

    def truncate_collection(self, collection_name: str, timeout: Optional[float] = None, **kwargs: Any) -> None:
        """Delete all rows; schema and indexes stay."""
        collection = self._base.native(collection_name)
        with translated():
            collection.truncate()

    def rename_collection(
        self, old_name: str, new_name: str, target_db: str = "", timeout: Optional[float] = None, **kwargs: Any
    ) -> None:
        """Give a collection another name; into another database its rows are copied."""
        self._base.rename(old_name, new_name, target_db)

    def get_collection_stats(self, collection_name: str, timeout: Optional[float] = None, **kwargs: Any) -> Dict[str, Any]:
        """{"row_count": rows there are now}, exact at any time."""
        collection = self._base.native(collection_name)
        with translated():
            return {"row_count": collection.count()}

    def alter_collection_properties(self, collection_name: str, properties: Dict[str, Any], timeout: Optional[float] = None, **kwargs: Any) -> None:
        """Keep properties with a collection."""
        self._base.set_properties(collection_name, properties)

    def drop_collection_properties(self, collection_name: str, property_keys: List[str], timeout: Optional[float] = None, **kwargs: Any) -> None:
        """Forget properties of a collection."""
        self._base.drop_properties(collection_name, property_keys)

    def alter_collection_field(
        self, collection_name: str, field_name: str, field_params: Dict[str, Any], timeout: Optional[float] = None, **kwargs: Any
    ) -> None:
        """Only memory mapping can be changed, which changes nothing here."""
        real = self._base.require(collection_name)
        if field_name not in self._base.native(real).schema:
            raise MilvusException(1100, f"field {field_name} does not exist in collection {collection_name}")
        if set(field_params) - {"mmap.enabled", "mmap_enabled"}:
            raise unsupported(f"changing {', '.join(sorted(field_params))} of a field")

    def add_collection_field(
        self, collection_name: str, field_name: str, data_type: Any, desc: str = "", timeout: Optional[float] = None, **kwargs: Any
    ) -> None:
        """Add a field, nullable or with a default; rows already there take that."""
        self._base.add_field(collection_name, FieldSchema(field_name, data_type, desc, **kwargs))

    # -- loading -------------------------------------------------------------------------------------------------

    def load_collection(self, collection_name: str, timeout: Optional[float] = None, **kwargs: Any) -> None:
        """Allow searching. Every vector field needs an index."""
        self._base.load(collection_name)

    def release_collection(self, collection_name: str, timeout: Optional[float] = None, **kwargs: Any) -> None:
        """Forbid searching until the collection is loaded again."""
        self._base.release(collection_name)

    def refresh_load(self, collection_name: str, timeout: Optional[float] = None, **kwargs: Any) -> None:
        """As load_collection."""
        self._base.load(collection_name)

    def get_load_state(
        self, collection_name: str, partition_name: str = "", timeout: Optional[float] = None, **kwargs: Any
    ) -> Dict[str, Any]:
        """{"state": LoadState.Loaded, NotLoad or NotExist}."""
        if partition_name and self._base.has(collection_name):
            if partition_name not in self._base.native(collection_name).partitions():
                raise MilvusException(200, f"partition not found[partition={partition_name}]")
        return {"state": self._base.load_state(collection_name)}

    def load_partitions(
        self, collection_name: str, partition_names: Union[str, List[str]], timeout: Optional[float] = None, **kwargs: Any
    ) -> None:
        """Load the collection; these partitions cannot be dropped until they are released."""
        names = [partition_names] if isinstance(partition_names, str) else list(partition_names)
        self._base.load_partitions(collection_name, names, True)

    def release_partitions(
        self, collection_name: str, partition_names: Union[str, List[str]], timeout: Optional[float] = None, **kwargs: Any
    ) -> None:
        """Partitions cost nothing while loaded: they stay searchable until the collection is released."""
        names = [partition_names] if isinstance(partition_names, str) else list(partition_names)
        self._base.load_partitions(collection_name, names, False)

    # -- indexes -------------------------------------------------------------------------------------------------

    def create_index(
        self, collection_name: str, index_params: IndexParams, timeout: Optional[float] = None, **kwargs: Any
    ) -> None:
        """Define indexes and build them for the rows there are; later rows are indexed in the background."""
        if not isinstance(index_params, (IndexParams, list)):
            raise ParamError(message="wrong type of argument [index_params], expected [IndexParams], got " + type(index_params).__name__)
        if not index_params:
            raise ParamError(message="IndexParams is empty, no index can be created")
        for param in index_params:
            self._base.create_index(
                collection_name, param.field_name, param.get_index_configs(), param.index_name
            )

    def list_indexes(self, collection_name: str, field_name: Optional[str] = "", **kwargs: Any) -> List[str]:
        """Names of the indexes, of one field if it is named."""
        return [entry["name"] for entry in self._base.indexes(collection_name, field_name or "")]

    def describe_index(
        self, collection_name: str, index_name: str, timeout: Optional[float] = None, **kwargs: Any
    ) -> Optional[Dict[str, Any]]:
        """Kind, metric, parameters and progress of an index; None when there is none."""
        entry = self._base.find_index(collection_name, index_name)
        if entry is None:
            return None
        out: Dict[str, Any] = {key: str(value) for key, value in entry["params"].items()}
        out["index_type"] = entry["index_type"]
        if entry["metric_type"]:
            out["metric_type"] = entry["metric_type"]
        out["field_name"] = entry["field"]
        out["index_name"] = entry["name"]
        out.update(self._base.index_progress(collection_name, entry))
        return out

    def drop_index(self, collection_name: str, index_name: str, timeout: Optional[float] = None, **kwargs: Any) -> None:
        """Drop an index. That of a vector field needs the collection released."""
        self._base.drop_index(collection_name, index_name)

    def alter_index_properties(self, collection_name: str, index_name: str, properties: Dict[str, Any], timeout: Optional[float] = None, **kwargs: Any) -> None:
        """Keep properties with an index."""
        self._require_index(collection_name, index_name)["properties"] = dict(properties)
        self._base.save()

    def drop_index_properties(self, collection_name: str, index_name: str, property_keys: List[str], timeout: Optional[float] = None, **kwargs: Any) -> None:
        """Forget properties of an index."""
        entry = self._require_index(collection_name, index_name)
        for key in property_keys:
            entry.get("properties", {}).pop(key, None)
        self._base.save()

    def _require_index(self, collection_name: str, index_name: str) -> Dict[str, Any]:
        entry = self._base.find_index(collection_name, index_name)
        if entry is None:
            raise MilvusException(700, f"index not found[indexName={index_name}]")
        return entry

    # -- writing -------------------------------------------------------------------------------------------------

    def insert(
        self,
        collection_name: str,
        data: Union[Dict[str, Any], List[Dict[str, Any]]],
        timeout: Optional[float] = None,
        partition_name: Optional[str] = "",
        **kwargs: Any,
    ) -> Dict[str, Any]:
        """Insert row dicts; a key that is there already is written over. Returns insert_count and ids."""
        if isinstance(data, list) and not data:
            return {"insert_count": 0, "ids": []}
        ids = self._base.insert_rows(collection_name, data, partition_name)
        return OmitZeroDict({"insert_count": len(ids), "ids": ids, "cost": 0})

    def upsert(
        self,
        collection_name: str,
        data: Union[Dict[str, Any], List[Dict[str, Any]]],
        timeout: Optional[float] = None,
        partition_name: Optional[str] = "",
        **kwargs: Any,
    ) -> Dict[str, Any]:
        """Insert row dicts, replacing rows with the same key; partial_update=True keeps fields that a row leaves out.
        """
        if isinstance(data, list) and not data:
            return {"upsert_count": 0, "ids": []}
        ids = self._base.upsert_rows(collection_name, data, partition_name, bool(kwargs.get("partial_update")), kwargs.get("field_ops"))
        return OmitZeroDict({"upsert_count": len(ids), "cost": 0, "ids": ids})

    def delete(
        self,
        collection_name: str,
        ids: Any = None,
        timeout: Optional[float] = None,
        filter: Optional[str] = None,
        partition_name: Optional[str] = None,
        **kwargs: Any,
    ) -> Dict[str, Any]:
        """Delete by keys or by filter. Returns delete_count, which is exact."""
        pks = kwargs.get("pks", ids)
        if pks is not None and not isinstance(pks, (list, tuple, set)):
            if isinstance(pks, bool) or not isinstance(pks, (int, str)):
                raise TypeError(f"wrong type of argument pks, expect list, int or str, got '{type(pks).__name__}'")
            pks = [pks]
        if filter is not None and not isinstance(filter, str):
            raise DataTypeNotMatchException(message=ExceptionsMessage.ExprType % type(filter))
        if filter and pks:
            raise ParamError(message=ExceptionsMessage.AmbiguousDeleteFilterParam)
        if not filter and pks is None:
            raise DataTypeNotMatchException(message=ExceptionsMessage.ExprType % type(filter))
        if pks is not None and not filter:
            count = self._base.delete(collection_name, list(pks), partition=partition_name) if pks else 0
        else:
            count = self._base.delete(
                collection_name, None, filter, kwargs.get("filter_params"), partition=partition_name
            )
        return OmitZeroDict({"delete_count": count, "cost": 0})

    # -- reading -------------------------------------------------------------------------------------------------

    def search(
        self,
        collection_name: str,
        data: Any = None,
        filter: str = "",
        limit: int = 10,
        output_fields: Optional[List[str]] = None,
        search_params: Optional[Dict[str, Any]] = None,
        timeout: Optional[float] = None,
        partition_names: Optional[List[str]] = None,
        anns_field: Optional[str] = None,
        ranker: Any = None,
        ids: Any = None,
        **kwargs: Any,
    ) -> SearchResult:
        """The nearest rows to each vector of `data`, as a list of hits for each."""
        if ranker is not None:
            raise unsupported("a ranker in a plain search")
        return self._base.search(
            collection_name,
            data,
            anns_field or "",
            limit,
            param=search_params,
            filter=filter or None,
            filter_params=kwargs.get("filter_params"),
            output_fields=output_fields,
            partitions=partition_names,
            ids=ids,
            timeout=timeout,
            more=kwargs,
        )

    def hybrid_search(
        self,
        collection_name: str,
        reqs: List[AnnSearchRequest],
        ranker: Any,
        limit: int = 10,
        output_fields: Optional[List[str]] = None,
        timeout: Optional[float] = None,
        partition_names: Optional[List[str]] = None,
        **kwargs: Any,
    ) -> SearchResult:
        """Several searches merged into one ranking by RRFRanker or WeightedRanker."""
        return self._base.hybrid_search(
            collection_name, reqs, ranker, limit, output_fields=output_fields, partitions=partition_names, more=kwargs
        )

    def query(
        self,
        collection_name: str,
        filter: str = "",
        output_fields: Optional[List[str]] = None,
        timeout: Optional[float] = None,
        ids: Any = None,
        partition_names: Optional[List[str]] = None,
        **kwargs: Any,
    ) -> HybridExtraList:
        """Rows that match a filter, or have these ids, as dicts; output_fields=["count(*)"] counts them."""
        if filter and not isinstance(filter, str):
            raise DataTypeNotMatchException(message=ExceptionsMessage.ExprType % type(filter))
        if filter and ids is not None:
            raise ParamError(message=ExceptionsMessage.AmbiguousQueryFilterParam)
        if isinstance(ids, (int, str)):
            ids = [ids]
        return self._base.query(
            collection_name,
            filter,
            output_fields,
            ids=ids,
            partitions=partition_names,
            limit=kwargs.get("limit"),
            offset=kwargs.get("offset"),
            filter_params=kwargs.get("filter_params"),
            order_by=order_text(kwargs.get("order_by") or kwargs.get("order_by_fields")),
            more=kwargs,
        )

    def get(
        self,
        collection_name: str,
        ids: Any,
        output_fields: Optional[List[str]] = None,
        timeout: Optional[float] = None,
        partition_names: Optional[List[str]] = None,
        **kwargs: Any,
    ) -> List[Dict[str, Any]]:
        """Rows with these keys, as dicts."""
        if not isinstance(ids, (list, tuple)):
            ids = [ids]
        if not ids:
            return []
        return self._base.query(collection_name, "", output_fields, ids=ids, partitions=partition_names, more=kwargs)

    def query_iterator(
        self,
        collection_name: str,
        batch_size: int = 1000,
        limit: Optional[int] = -1,
        filter: Optional[str] = "",
        output_fields: Optional[List[str]] = None,
        partition_names: Optional[List[str]] = None,
        timeout: Optional[float] = None,
        **kwargs: Any,
    ) -> QueryIterator:
        """Pages of a query, over the rows as they are now: next() until it gives an empty list."""
        if filter is not None and not isinstance(filter, str):
            raise DataTypeNotMatchException(message=ExceptionsMessage.ExprType % type(filter))
        return QueryIterator(self._base, collection_name, batch_size, limit, filter, output_fields, partition_names, kwargs)

    def search_iterator(
        self,
        collection_name: str,
        data: Any,
        batch_size: int = 1000,
        filter: Optional[str] = None,
        limit: Optional[int] = -1,
        output_fields: Optional[List[str]] = None,
        search_params: Optional[Dict[str, Any]] = None,
        timeout: Optional[float] = None,
        partition_names: Optional[List[str]] = None,
        anns_field: Optional[str] = None,
        round_decimal: int = -1,
        **kwargs: Any,
    ) -> SearchIterator:
        """Pages of a search with one vector: next() until it gives an empty page."""
        return SearchIterator(
            self._base, collection_name, data, anns_field or "", search_params, batch_size, limit, filter, output_fields,
            partition_names, round_decimal, kwargs,
        )

    # -- partitions ----------------------------------------------------------------------------------------------

    def create_partition(self, collection_name: str, partition_name: str, timeout: Optional[float] = None, **kwargs: Any) -> None:
        """Add a partition; nothing happens when it is there."""
        self._base.create_partition(collection_name, partition_name)

    def drop_partition(self, collection_name: str, partition_name: str, timeout: Optional[float] = None, **kwargs: Any) -> None:
        """Drop a partition and its rows."""
        self._base.drop_partition(collection_name, partition_name)

    def has_partition(self, collection_name: str, partition_name: str, timeout: Optional[float] = None, **kwargs: Any) -> bool:
        """Whether a collection has a partition."""
        return partition_name in self._base.native(collection_name).partitions()

    def list_partitions(self, collection_name: str, timeout: Optional[float] = None, **kwargs: Any) -> List[str]:
        """Names of the partitions, "_default" first."""
        return self._base.native(collection_name).partitions()

    def get_partition_stats(
        self, collection_name: str, partition_name: str, timeout: Optional[float] = None, **kwargs: Any
    ) -> Dict[str, Any]:
        """{"row_count": rows of the partition}."""
        if not isinstance(partition_name, str):
            raise ParamError(message=f"wrong type of argument, expect str, got {type(partition_name).__name__}")
        return {"row_count": self._base.partition_rows(collection_name, partition_name)}

    # -- aliases -------------------------------------------------------------------------------------------------

    def create_alias(self, collection_name: str, alias: str, timeout: Optional[float] = None, **kwargs: Any) -> None:
        """A second name for a collection."""
        self._base.create_alias(collection_name, alias)

    def drop_alias(self, alias: str, timeout: Optional[float] = None, **kwargs: Any) -> None:
        """Take an alias away; the collection stays."""
        self._base.drop_alias(alias)

    def alter_alias(self, collection_name: str, alias: str, timeout: Optional[float] = None, **kwargs: Any) -> None:
        """Lead an alias to another collection."""
        self._base.alter_alias(collection_name, alias)

    def describe_alias(self, alias: str, timeout: Optional[float] = None, **kwargs: Any) -> Dict[str, Any]:
        """Which collection an alias leads to."""
        return self._base.describe_alias(alias)

    def list_aliases(self, collection_name: str = "", timeout: Optional[float] = None, **kwargs: Any) -> Dict[str, Any]:
        """{"aliases": [...]} of a collection, or of all."""
        real = self._base.require(collection_name) if collection_name else None
        return {
            "aliases": self._base.db.aliases(real),
            "collection_name": real or "",
            "db_name": self._base.name,
        }

    # -- databases -----------------------------------------------------------------------------------------------

    def use_database(self, db_name: str, **kwargs: Any) -> None:
        """Go over to another database of the same directory."""
        self._get_connection().use(db_name)

    using_database = use_database

    def create_database(self, db_name: str, properties: Optional[Dict[str, Any]] = None, timeout: Optional[float] = None, **kwargs: Any) -> None:
        """Add a database: a directory within this one."""
        self._get_connection().store.create(db_name, properties)

    def drop_database(self, db_name: str, **kwargs: Any) -> None:
        """Drop an empty database."""
        self._get_connection().drop_database(db_name)

    def list_databases(self, timeout: Optional[float] = None, **kwargs: Any) -> List[str]:
        """Names of the databases, "default" first."""
        return self._get_connection().store.names()

    def describe_database(self, db_name: str, **kwargs: Any) -> Dict[str, Any]:
        """Name and properties of a database."""
        base = self._get_connection().store.base(db_name)
        return {"name": base.name, **base.meta["properties"]}

    def alter_database_properties(self, db_name: str, properties: Dict[str, Any], **kwargs: Any) -> None:
        """Keep properties with a database."""
        self._get_connection().store.base(db_name).alter(properties)

    def drop_database_properties(self, db_name: str, property_keys: List[str], **kwargs: Any) -> None:
        """Forget properties of a database."""
        base = self._get_connection().store.base(db_name)
        for key in property_keys:
            base.meta["properties"].pop(key, None)
        base.save()

    # -- upkeep --------------------------------------------------------------------------------------------------

    def flush(self, collection_name: str, timeout: Optional[float] = None, **kwargs: Any) -> None:
        """Wait until what was written is on disk. Sealing and indexing go on in the background, as in Milvus."""
        flush(self._base, collection_name)

    def flush_all(self, timeout: Optional[float] = None, **kwargs: Any) -> None:
        """flush() for all collections."""
        for name in self._base.names():
            flush(self._base, name)

    def get_flush_all_state(self, timeout: Optional[float] = None, **kwargs: Any) -> bool:
        """True: flush_all() has ended when it returns."""
        return True

    def compact(self, collection_name: str, is_clustering: Optional[bool] = False, timeout: Optional[float] = None, **kwargs: Any) -> int:
        """Merge segments, drop deleted rows and build every index, now. Returns a job number."""
        return compact(self._base, collection_name)

    def get_compaction_state(self, job_id: int, timeout: Optional[float] = None, **kwargs: Any) -> str:
        """Always "Completed": compact() has ended when it returns."""
        return "Completed"

    def optimize(
        self, collection_name: str, target_size: Any = None, wait: bool = True, timeout: Optional[float] = None, **kwargs: Any
    ) -> Any:
        """compact(), under Milvus' newer name. target_size has no effect: vecdb chooses what serves searches best.
        wait=False gives an OptimizeTask to ask for its result()."""
        task = OptimizeTask(self._base, collection_name, target_size)
        return task.result(timeout) if wait else task

    def describe_replica(self, collection_name: str, timeout: Optional[float] = None, **kwargs: Any) -> List[Group]:
        """No replicas: one process, one copy."""
        self._base.require(collection_name)
        return [Group()]

    def get_server_version(self, timeout: Optional[float] = None, **kwargs: Any) -> Any:
        """The Milvus version whose interface this is, and vecdb's own."""
        version = server_version()
        return {"version": version, "build_time": "", "git_commit": "", "go_version": "", "deploy_mode": "EMBEDDED"} if kwargs.get("detail") else version

    def get_server_type(self) -> str:
        """Always "vecdb"."""
        return "vecdb"

    def list_loaded_segments(self, collection_name: str, *args: Any, **kwargs: Any) -> List[Any]:
        """Segments are vecdb's own business: an empty list."""
        self._base.require(collection_name)
        return []

    list_persistent_segments = list_loaded_segments


for _name in SERVER_ONLY:
    setattr(MilvusClient, _name, _server_only(_name))


def server_version() -> str:
    import vecdb

    return f"v2.6.0-vecdb-{vecdb.version()}"


def flush(base: engine.Base, name: str) -> None:
    """What was written is on disk afterwards. Milvus seals and indexes in the background, and so does vecdb."""
    base.native(name)
    with translated():
        base.db.sync()


_jobs = [0]


def compact(base: engine.Base, name: str) -> int:
    """Merge segments now; the job is done when this returns."""
    collection = base.native(name)
    with translated():
        collection.optimize()
    _jobs[0] += 1
    return _jobs[0]


class OptimizeResult(NamedTuple):
    """What optimize() did."""

    status: str
    collection_name: str
    compaction_id: int
    target_size: Any
    progress: List[str]


class OptimizeTask:
    """optimize() in a thread of its own. What is under way cannot be taken back, so cancel() says False once it began."""

    def __init__(self, base: engine.Base, collection_name: str, target_size: Any) -> None:
        base.require(collection_name)
        self._stages = ["initializing"]

        def work() -> OptimizeResult:
            self._stages.append("compacting")
            return OptimizeResult("success", collection_name, compact(base, collection_name), target_size, list(self._stages))

        pool = concurrent.futures.ThreadPoolExecutor(1, "vecdb-optimize")
        self._future = pool.submit(work)
        pool.shutdown(wait=False)

    def done(self) -> bool:
        """Whether it has ended."""
        return self._future.done()

    def cancel(self) -> bool:
        """Whether it was stopped before it began."""
        return self._future.cancel()

    def cancelled(self) -> bool:
        """Whether cancel() stopped it."""
        return self._future.cancelled()

    def progress(self) -> str:
        """The stage it is in."""
        return self._stages[-1]

    def progress_history(self) -> List[str]:
        """All stages so far."""
        return list(self._stages)

    def result(self, timeout: Optional[float] = None) -> OptimizeResult:
        """Wait for the end."""
        try:
            return self._future.result(timeout)
        except concurrent.futures.TimeoutError:
            raise MilvusException(1, f"optimize has not ended in {timeout} seconds, and goes on") from None
        except concurrent.futures.CancelledError:
            raise MilvusException(1, "Optimization task was cancelled") from None


class AsyncOptimizeTask:
    """OptimizeTask whose result is awaited."""

    def __init__(self, task: OptimizeTask) -> None:
        self._task = task
        self.done, self.cancel, self.cancelled = task.done, task.cancel, task.cancelled
        self.progress, self.progress_history = task.progress, task.progress_history

    async def result(self, timeout: Optional[float] = None) -> OptimizeResult:
        """Wait for the end."""
        return await asyncio.get_running_loop().run_in_executor(None, self._task.result, timeout)


def order_text(order: Any) -> Optional[str]:
    """Milvus' order_by_fields as text: [{"field": "year", "order": "desc"}], ["year:desc"] or a text already."""
    if not order:
        return None
    if isinstance(order, str):
        order = [order]
    parts = []
    for item in order:
        if isinstance(item, Mapping):
            direction = str(item.get("order", "asc"))
            parts.append(f"{item['field']} {direction}")
        else:
            parts.append(str(item).replace(":", " "))
    return ", ".join(parts)


class AsyncMilvusClient:
    """MilvusClient for asyncio: each call runs in a thread, without the GIL while the library works."""

    def __init__(
        self,
        uri: str = "http://localhost:19530",
        user: str = "",
        password: str = "",
        db_name: str = "",
        token: str = "",
        timeout: Optional[float] = None,
        **kwargs: Any,
    ) -> None:
        self._client = MilvusClient(uri, user, password, db_name, token, timeout, **kwargs)
        self._using = self._client._using

    def _get_connection(self) -> Connection:
        return self._client._get_connection()

    async def close(self) -> None:
        """Close the files when this is the last client of them."""
        self._client.close()

    async def __aenter__(self) -> "AsyncMilvusClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def optimize(
        self, collection_name: str, target_size: Any = None, wait: bool = True, timeout: Optional[float] = None, **kwargs: Any
    ) -> Any:
        """MilvusClient.optimize; wait=False gives a task whose result() is awaited."""
        task = AsyncOptimizeTask(self._client.optimize(collection_name, target_size, wait=False))
        return await task.result(timeout) if wait else task

    create_schema = MilvusClient.create_schema
    create_field_schema = MilvusClient.create_field_schema
    create_struct_field_schema = MilvusClient.create_struct_field_schema
    prepare_index_params = MilvusClient.prepare_index_params

    if TYPE_CHECKING:  # the other methods are MilvusClient's, awaited

        def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]: ...


def _awaitable(name: str) -> Callable[..., Any]:
    original = getattr(MilvusClient, name)

    @functools.wraps(original)
    async def method(self: AsyncMilvusClient, *args: Any, **kwargs: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, functools.partial(getattr(self._client, name), *args, **kwargs))

    return method


for _name in dir(MilvusClient):
    if not _name.startswith("_") and not hasattr(AsyncMilvusClient, _name) and callable(getattr(MilvusClient, _name)):
        setattr(AsyncMilvusClient, _name, _awaitable(_name))


__all__ = ["AsyncMilvusClient", "LoadState", "MilvusClient", "Sequence", "Function"]
