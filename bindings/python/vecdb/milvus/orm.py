"""The ORM: Collection, Partition, Index."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Union

from .._columns import row_count_of
from . import engine
from .client import compact, flush, order_text
from ._connections import connections
from .exceptions import (
    DataNotMatchException,
    DataTypeNotSupportException,
    DataTypeNotMatchException,
    ExceptionsMessage,
    IndexNotExistException,
    MilvusException,
    ParamError,
    PartitionNotExistException,
    SchemaNotReadyException,
    translated,
    unsupported,
)
from .iterators import QueryIterator, SearchIterator
from .results import HybridExtraList, MutationFuture, MutationResult, SearchFuture, SearchResult
from .schema import AnnSearchRequest, CollectionSchema, FieldSchema, schema_from_frame
from .types import ConsistencyLevel, DataType, Replica, Group, Status

_workers: Optional[ThreadPoolExecutor] = None


def _later(function: Callable[[], Any], kind: Any, callback: Optional[Callable[..., Any]]) -> Any:
    """Run a call with _async=True."""
    global _workers
    if _workers is None:
        _workers = ThreadPoolExecutor(4, "vecdb-milvus")
    future = kind(_workers.submit(function))
    if callback is not None:
        future.add_callback(callback)
    return future


class Collection:
    """A collection by name; with a schema it is created when it is not there."""

    def __init__(
        self, name: str, schema: Optional[CollectionSchema] = None, using: str = "default", **kwargs: Any
    ) -> None:
        self._name = name
        self._using = using
        self._kwargs = kwargs
        base = self._base
        if base.has(name):
            existing = base.schema(name)
            if schema is not None:
                if not isinstance(schema, CollectionSchema):
                    raise SchemaNotReadyException(message=ExceptionsMessage.SchemaType)
                if not _same_schema(existing, schema):
                    raise SchemaNotReadyException(message=ExceptionsMessage.SchemaInconsistent)
        else:
            if schema is None:
                raise SchemaNotReadyException(message=ExceptionsMessage.CollectionNotExistNoSchema % name)
            if not isinstance(schema, CollectionSchema):
                raise SchemaNotReadyException(message=ExceptionsMessage.SchemaType)
            base.create(
                name,
                schema,
                consistency_level=kwargs.get("consistency_level"),
                num_shards=kwargs.get("num_shards") or kwargs.get("shards_num"),
                num_partitions=kwargs.get("num_partitions"),
                properties=kwargs.get("properties"),
            )

    @property
    def _base(self) -> engine.Base:
        return connections.fetch(self._using).base

    @classmethod
    def construct_from_dataframe(cls, name: str, dataframe: Any, **kwargs: Any) -> "tuple[Collection, MutationResult]":
        """Make a collection of a DataFrame, and insert it."""
        if dataframe is None:
            raise SchemaNotReadyException(message=ExceptionsMessage.NoneDataFrame)
        if not engine.is_frame(dataframe):
            raise SchemaNotReadyException(message=ExceptionsMessage.DataFrameType)
        using = kwargs.pop("using", "default")
        schema = schema_from_frame(dataframe, **{k: v for k, v in kwargs.items() if k in ("primary_field", "auto_id", "description")})
        collection = cls(name, schema, using)
        return collection, collection.insert(dataframe)

    def __repr__(self) -> str:
        return (
            f"<Collection>:\n-------------\n<name>: {self._name}\n<description>: {self.description}\n"
            f"<schema>: {self.schema}\n"
        )

    # -- facts ---------------------------------------------------------------------------------------------------

    @property
    def schema(self) -> CollectionSchema:
        """Its fields."""
        return self._base.schema(self._name)

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def description(self) -> str:
        """What it is about."""
        return self.schema.description

    @property
    def aliases(self) -> List[str]:
        """Its other names."""
        return self._base.db.aliases(self._base.require(self._name))

    @property
    def num_entities(self) -> int:
        """Rows there are now, exact at any time."""
        with translated():
            return self._base.native(self._name).count()

    @property
    def is_empty(self) -> bool:
        """Whether it has no rows."""
        return self.num_entities == 0

    @property
    def num_shards(self) -> int:
        """As it was given; one process serves them all."""
        return int(self._base.describe(self._name)["num_shards"])

    @property
    def primary_field(self) -> Optional[FieldSchema]:
        """The field of the primary key."""
        return self.schema.primary_field

    def describe(self, timeout: Optional[float] = None) -> Dict[str, Any]:
        """Fields, aliases, properties and so on, with Milvus' names."""
        return self._base.describe(self._name)

    # -- upkeep --------------------------------------------------------------------------------------------------

    def flush(self, timeout: Optional[float] = None, **kwargs: Any) -> None:
        """Wait until what was written is on disk. Sealing and indexing go on in the background, as in Milvus."""
        flush(self._base, self._name)

    def drop(self, timeout: Optional[float] = None, **kwargs: Any) -> None:
        """Drop the collection, its rows and its aliases."""
        self._base.drop(self._name)

    def truncate(self, timeout: Optional[float] = None, **kwargs: Any) -> None:
        """Delete all rows; schema and indexes stay."""
        with translated():
            self._base.native(self._name).truncate()

    def set_properties(self, properties: Dict[str, Any], timeout: Optional[float] = None, **kwargs: Any) -> None:
        """Keep properties with the collection."""
        self._base.set_properties(self._name, properties)

    def load(
        self,
        partition_names: Optional[List[str]] = None,
        replica_number: int = 1,
        timeout: Optional[float] = None,
        **kwargs: Any,
    ) -> None:
        """Allow searching. Every vector field needs an index."""
        if replica_number > 1:
            raise unsupported("more than one replica")
        if partition_names:
            self._base._check_partitions(self._base.native(self._name), partition_names)
        self._base.load(self._name)

    def release(self, timeout: Optional[float] = None, **kwargs: Any) -> None:
        """Forbid searching until the collection is loaded again."""
        self._base.release(self._name)

    def compact(self, is_clustering: Optional[bool] = False, timeout: Optional[float] = None, **kwargs: Any) -> None:
        """Merge segments, drop deleted rows and build every index, now."""
        self._compaction = compact(self._base, self._name)

    def get_compaction_state(self, timeout: Optional[float] = None, is_clustering: Optional[bool] = False, **kwargs: Any) -> Any:
        """What compact() did."""
        return CompactionState()

    def wait_for_compaction_completed(self, timeout: Optional[float] = None, is_clustering: Optional[bool] = False, **kwargs: Any) -> Any:
        """Returns at once: compact() has ended when it returns."""
        return CompactionState()

    def get_compaction_plans(self, timeout: Optional[float] = None, is_clustering: Optional[bool] = False, **kwargs: Any) -> List[Any]:
        """No plans: compact() has ended when it returns."""
        return []

    def get_replicas(self, timeout: Optional[float] = None, **kwargs: Any) -> Replica:
        """No replicas: one process, one copy."""
        return Replica([Group()])

    # -- writing -------------------------------------------------------------------------------------------------

    def insert(self, data: Any, partition_name: Optional[str] = None, timeout: Optional[float] = None, **kwargs: Any) -> Any:
        """Insert a list of columns in the schema's order, a DataFrame, or row dicts."""

        def work() -> MutationResult:
            keys = self._write(data, partition_name, False)
            return MutationResult(keys, insert_count=len(keys))

        if kwargs.get("_async"):
            return _later(work, MutationFuture, kwargs.get("_callback"))
        return work()

    def upsert(self, data: Any, partition_name: Optional[str] = None, timeout: Optional[float] = None, **kwargs: Any) -> Any:
        """Insert, replacing rows with the same key."""

        def work() -> MutationResult:
            keys = self._write(data, partition_name, True)
            return MutationResult(keys, upsert_count=len(keys))

        if kwargs.get("_async"):
            return _later(work, MutationFuture, kwargs.get("_callback"))
        return work()

    def _write(self, data: Any, partition: Optional[str], upsert: bool) -> List[Any]:
        base = self._base
        if isinstance(data, dict) or (isinstance(data, list) and data and isinstance(data[0], dict)):
            if upsert:
                return base.upsert_rows(self._name, data, partition)
            return base.insert_rows(self._name, data, partition)
        schema = self.schema
        primary = schema.primary_field
        assert primary is not None
        if engine.is_frame(data):
            columns: Dict[str, Any] = engine.frame_columns(data)
        else:
            if not isinstance(data, (list, tuple)):
                raise DataTypeNotSupportException(message="The type of data should be List, pd.DataFrame or Dict")
            if not data:
                return []
            wanted = [field for field in schema.fields if not (field.is_primary and field.auto_id) or upsert]
            if primary.auto_id and not upsert and len(data) == len(wanted) + 1:
                wanted = list(schema.fields)
            given = list(data)
            if len(given) > len(wanted) and schema.enable_dynamic_field and isinstance(given[-1], list):
                pass
            if len(given) != len(wanted):
                raise DataNotMatchException(
                    message=f"The data doesn't match with schema fields, expect {len(wanted)} list, got {len(given)}"
                )
            columns = {field.name: values for field, values in zip(wanted, given)}
        if primary.auto_id and not upsert and columns.get(primary.name) is not None:
            raise DataNotMatchException(message=ExceptionsMessage.AutoIDWithData)
        if columns and not _rows_in(columns):
            return []
        return base.insert_columns(self._name, columns, partition, upsert)

    def delete(self, expr: str, partition_name: Optional[str] = None, timeout: Optional[float] = None, **kwargs: Any) -> Any:
        """Delete the rows that match an expression."""
        if not isinstance(expr, str):
            raise DataTypeNotMatchException(message=ExceptionsMessage.ExprType % type(expr))

        def work() -> MutationResult:
            count = self._base.delete(self._name, None, expr, kwargs.get("expr_params"), partition_name)
            return MutationResult((), delete_count=count)

        if kwargs.get("_async"):
            return _later(work, MutationFuture, kwargs.get("_callback"))
        return work()

    # -- searching -----------------------------------------------------------------------------------------------

    def search(
        self,
        data: Any,
        anns_field: str,
        param: Dict[str, Any],
        limit: int,
        expr: Optional[str] = None,
        partition_names: Optional[List[str]] = None,
        output_fields: Optional[List[str]] = None,
        timeout: Optional[float] = None,
        round_decimal: int = -1,
        **kwargs: Any,
    ) -> Any:
        """The nearest rows to each vector of `data`; with _async=True a future."""
        if expr is not None and not isinstance(expr, str):
            raise DataTypeNotMatchException(message=ExceptionsMessage.ExprType % type(expr))
        if getattr(data, "shape", (1,))[0] == 0 or (isinstance(data, list) and not data):
            return SearchResult()
        more = dict(kwargs)
        if round_decimal is not None and round_decimal >= 0:
            more["round_decimal"] = round_decimal

        def work() -> SearchResult:
            return self._base.search(
                self._name,
                data,
                anns_field,
                limit,
                param=param,
                filter=expr,
                filter_params=kwargs.get("expr_params"),
                output_fields=output_fields,
                partitions=partition_names,
                timeout=timeout,
                more=more,
            )

        if kwargs.get("_async"):
            return _later(work, SearchFuture, kwargs.get("_callback"))
        return work()

    def hybrid_search(
        self,
        reqs: List[AnnSearchRequest],
        rerank: Any,
        limit: int,
        partition_names: Optional[List[str]] = None,
        output_fields: Optional[List[str]] = None,
        timeout: Optional[float] = None,
        round_decimal: int = -1,
        **kwargs: Any,
    ) -> Any:
        """Several searches merged into one ranking."""
        more = {**kwargs, "round_decimal": round_decimal}

        def work() -> SearchResult:
            return self._base.hybrid_search(
                self._name, reqs, rerank, limit, output_fields=output_fields, partitions=partition_names, more=more
            )

        if kwargs.get("_async"):
            return _later(work, SearchFuture, kwargs.get("_callback"))
        return work()

    def query(
        self,
        expr: str = "",
        output_fields: Optional[List[str]] = None,
        partition_names: Optional[List[str]] = None,
        timeout: Optional[float] = None,
        **kwargs: Any,
    ) -> HybridExtraList:
        """Rows that match an expression, as dicts."""
        if not isinstance(expr, str):
            raise DataTypeNotMatchException(message=ExceptionsMessage.ExprType % type(expr))
        primary = self.schema.primary_field
        assert primary is not None
        return self._base.query(
            self._name,
            expr,
            output_fields if output_fields else [primary.name],
            partitions=partition_names,
            limit=kwargs.get("limit"),
            offset=kwargs.get("offset"),
            filter_params=kwargs.get("expr_params"),
            order_by=order_text(kwargs.get("order_by") or kwargs.get("order_by_fields")),
            more=kwargs,
        )

    def query_iterator(
        self,
        batch_size: int = 1000,
        limit: Optional[int] = -1,
        expr: Optional[str] = None,
        output_fields: Optional[List[str]] = None,
        partition_names: Optional[List[str]] = None,
        timeout: Optional[float] = None,
        **kwargs: Any,
    ) -> QueryIterator:
        """Pages of a query."""
        if expr is not None and not isinstance(expr, str):
            raise DataTypeNotMatchException(message=ExceptionsMessage.ExprType % type(expr))
        return QueryIterator(self._base, self._name, batch_size, limit, expr, output_fields, partition_names, kwargs)

    def search_iterator(
        self,
        data: Any,
        anns_field: str,
        param: Dict[str, Any],
        batch_size: int = 1000,
        limit: Optional[int] = -1,
        expr: Optional[str] = None,
        partition_names: Optional[List[str]] = None,
        output_fields: Optional[List[str]] = None,
        timeout: Optional[float] = None,
        round_decimal: int = -1,
        **kwargs: Any,
    ) -> SearchIterator:
        """Pages of a search with one vector."""
        if expr is not None and not isinstance(expr, str):
            raise DataTypeNotMatchException(message=ExceptionsMessage.ExprType % type(expr))
        return SearchIterator(
            self._base, self._name, data, anns_field, param, batch_size, limit, expr, output_fields, partition_names,
            round_decimal, kwargs,
        )

    # -- partitions ----------------------------------------------------------------------------------------------

    @property
    def partitions(self) -> List["Partition"]:
        """The partitions, "_default" first."""
        return [Partition(self, name, construct_only=True) for name in self._base.native(self._name).partitions()]

    def partition(self, partition_name: str, **kwargs: Any) -> Optional["Partition"]:
        """One partition."""
        if not self.has_partition(partition_name):
            return None
        return Partition(self, partition_name, construct_only=True)

    def create_partition(self, partition_name: str, description: str = "", **kwargs: Any) -> "Partition":
        """Add a partition."""
        if self.has_partition(partition_name):
            raise MilvusException(message=ExceptionsMessage.PartitionAlreadyExist)
        return Partition(self, partition_name, description)

    def has_partition(self, partition_name: str, timeout: Optional[float] = None, **kwargs: Any) -> bool:
        """Whether there is a partition of this name."""
        return partition_name in self._base.native(self._name).partitions()

    def drop_partition(self, partition_name: str, timeout: Optional[float] = None, **kwargs: Any) -> None:
        """Drop a partition and its rows."""
        self._base.drop_partition(self._name, partition_name)

    # -- indexes -------------------------------------------------------------------------------------------------

    @property
    def indexes(self) -> List["Index"]:
        """The indexes."""
        return [Index._of(self, entry) for entry in self._base.indexes(self._name)]

    def index(self, **kwargs: Any) -> "Index":
        """The only index, or the one with this index_name."""
        entry = self._base.find_index(self._name, kwargs.get("index_name", ""))
        if entry is None:
            raise IndexNotExistException(message=ExceptionsMessage.IndexNotExist)
        return Index._of(self, entry)

    def create_index(
        self, field_name: str, index_params: Optional[Dict[str, Any]] = None, timeout: Optional[float] = None, **kwargs: Any
    ) -> Status:
        """Define an index and build it for the rows there are."""
        index_params = dict(index_params or {})
        if "index_type" not in index_params and "index_type" in kwargs:
            index_params["index_type"] = kwargs["index_type"]
        self._base.create_index(self._name, field_name, index_params, kwargs.get("index_name", ""))
        return Status(0, "")

    def alter_index(self, index_name: str, extra_params: Dict[str, Any], timeout: Optional[float] = None) -> None:
        """Keep parameters with an index."""
        entry = self._base.find_index(self._name, index_name)
        if entry is None:
            raise IndexNotExistException(message=ExceptionsMessage.IndexNotExist)
        entry.setdefault("properties", {}).update(extra_params)
        self._base.save()

    def has_index(self, timeout: Optional[float] = None, **kwargs: Any) -> bool:
        """Whether there is an index, or one with this index_name."""
        wanted = kwargs.get("index_name", "")
        found = self._base.indexes(self._name)
        if wanted:
            return any(entry["name"] == wanted for entry in found)
        return bool(found)

    def drop_index(self, timeout: Optional[float] = None, **kwargs: Any) -> None:
        """Drop an index. That of a vector field needs the collection released."""
        entry = self._base.find_index(self._name, kwargs.get("index_name", ""))
        if entry is not None:
            self._base.drop_index(self._name, entry["name"])


class CompactionState:
    """A compaction is done when compact() returns."""

    compaction_id = 0
    state = 2
    state_name = "Completed"
    in_executing = 0
    in_timeout = 0
    completed = 1

    def __repr__(self) -> str:
        return "CompactionState\n - compaction id: 0\n - State: Completed\n"


def _rows_in(columns: Mapping[str, Any]) -> int:
    return max((row_count_of(values) for values in columns.values() if hasattr(values, "__len__")), default=0)


def _same_schema(existing: CollectionSchema, given: CollectionSchema) -> bool:
    """Whether a schema describes the collection that is there: fields by name, type and size."""

    def essence(schema: CollectionSchema) -> List[Any]:
        return [
            (field.name, int(field.dtype), bool(field.is_primary), bool(field.auto_id), field.params.get("dim"))
            for field in schema.fields
        ]

    return essence(existing) == essence(given)


class Partition:
    """A partition of a collection."""

    def __init__(
        self, collection: Union[Collection, str], name: str, description: str = "", construct_only: bool = False, **kwargs: Any
    ) -> None:
        if isinstance(collection, str):
            collection = Collection(collection, using=kwargs.get("using", "default"))
        if not isinstance(collection, Collection):
            raise MilvusException(message="Collection must be of type pymilvus.Collection or String")
        self._collection = collection
        self._name = name
        self._description = description
        if not construct_only and not collection.has_partition(name):
            collection._base.create_partition(collection.name, name)

    def __repr__(self) -> str:
        return json.dumps(
            {"name": self._name, "collection_name": self._collection.name, "description": self._description},
            separators=(",", ":"),
        )

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def description(self) -> str:
        """What it is about."""
        return self._description

    @property
    def num_entities(self) -> int:
        """Rows in it now."""
        return self._collection._base.partition_rows(self._collection.name, self._name)

    @property
    def is_empty(self) -> bool:
        """Whether it has no rows."""
        return self.num_entities == 0

    def _check(self) -> None:
        if not self._collection.has_partition(self._name):
            raise PartitionNotExistException(200, f"partition not found[partition={self._name}]")

    def flush(self, timeout: Optional[float] = None, **kwargs: Any) -> None:
        """Wait until what was written is on disk."""
        self._collection.flush()

    def drop(self, timeout: Optional[float] = None, **kwargs: Any) -> None:
        """Drop the partition and its rows."""
        self._collection.drop_partition(self._name)

    def load(self, replica_number: int = 1, timeout: Optional[float] = None, **kwargs: Any) -> None:
        """Load the collection: partitions cost nothing."""
        self._check()
        self._collection.load(replica_number=replica_number)

    def release(self, timeout: Optional[float] = None, **kwargs: Any) -> None:
        """Partitions cost nothing while loaded: they stay searchable until the collection is released."""
        self._check()

    def insert(self, data: Any, timeout: Optional[float] = None, **kwargs: Any) -> Any:
        """Collection.insert, into this partition."""
        self._check()
        return self._collection.insert(data, self._name, timeout, **kwargs)

    def upsert(self, data: Any, timeout: Optional[float] = None, **kwargs: Any) -> Any:
        """Collection.upsert, into this partition."""
        self._check()
        return self._collection.upsert(data, self._name, timeout, **kwargs)

    def delete(self, expr: str, timeout: Optional[float] = None, **kwargs: Any) -> Any:
        """Collection.delete, of this partition's rows."""
        return self._collection.delete(expr, self._name, timeout, **kwargs)

    def search(self, data: Any, anns_field: str, param: Dict[str, Any], limit: int, expr: Optional[str] = None, output_fields: Optional[List[str]] = None, timeout: Optional[float] = None, round_decimal: int = -1, **kwargs: Any) -> Any:
        """Collection.search, among this partition's rows."""
        return self._collection.search(data, anns_field, param, limit, expr, [self._name], output_fields, timeout, round_decimal, **kwargs)

    def hybrid_search(self, reqs: List[AnnSearchRequest], rerank: Any, limit: int, output_fields: Optional[List[str]] = None, timeout: Optional[float] = None, round_decimal: int = -1, **kwargs: Any) -> Any:
        """Collection.hybrid_search, among this partition's rows."""
        return self._collection.hybrid_search(reqs, rerank, limit, [self._name], output_fields, timeout, round_decimal, **kwargs)

    def query(self, expr: str, output_fields: Optional[List[str]] = None, timeout: Optional[float] = None, **kwargs: Any) -> HybridExtraList:
        """Collection.query, of this partition's rows."""
        return self._collection.query(expr, output_fields, [self._name], timeout, **kwargs)

    def get_replicas(self, timeout: Optional[float] = None, **kwargs: Any) -> Replica:
        """No replicas: one process, one copy."""
        return Replica([Group()])


class Index:
    """An index of a field. Constructing one creates it."""

    def __init__(self, collection: Collection, field_name: str, index_params: Dict[str, Any], **kwargs: Any) -> None:
        if not isinstance(collection, Collection):
            raise MilvusException(message="The type of collection must be pymilvus.Collection.")
        self._collection = collection
        self._field_name = field_name
        self._index_params = dict(index_params or {})
        self._index_name = kwargs.get("index_name") or field_name
        if not kwargs.get("construct_only"):
            collection.create_index(field_name, self._index_params, index_name=kwargs.get("index_name", ""))

    @classmethod
    def _of(cls, collection: Collection, entry: Mapping[str, Any]) -> "Index":
        params: Dict[str, Any] = {"index_type": entry["index_type"]}
        if entry["metric_type"]:
            params["metric_type"] = entry["metric_type"]
        if entry["params"]:
            params["params"] = dict(entry["params"])
        return cls(collection, entry["field"], params, index_name=entry["name"], construct_only=True)

    @property
    def params(self) -> Dict[str, Any]:
        """Kind, metric and parameters."""
        return self._index_params

    @property
    def collection_name(self) -> str:
        """The collection it belongs to."""
        return self._collection.name

    @property
    def field_name(self) -> str:
        """The field it is on."""
        return self._field_name

    @property
    def index_name(self) -> str:
        """Its name."""
        return self._index_name

    def to_dict(self) -> Dict[str, Any]:
        """Collection, field, name and parameters."""
        return {
            "collection": self._collection.name,
            "field": self._field_name,
            "index_name": self._index_name,
            "index_param": self.params,
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Index) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def drop(self, timeout: Optional[float] = None, **kwargs: Any) -> None:
        """Drop the index."""
        self._collection.drop_index(index_name=self._index_name)


__all__ = [
    "Collection", "ConsistencyLevel", "DataType", "Index", "MutationFuture", "ParamError", "Partition", "SearchFuture", "Sequence",
]
