"""What the client and the ORM share: Milvus' operations over native databases.

A store is a directory (or memory). Its default database is the directory itself, so that vecdb.open() and the command
line see the same collections; other databases are in databases/NAME below it. What Milvus keeps about a collection and
vecdb does not (index parameters as given, load state, properties) is in milvus.json beside the data.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import shutil
import sys
import threading
import time
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple, Union

import vecdb

from .. import _errors as native
from .._columns import uniform_columns
from .._schema import META
from .._types import numpy
from .exceptions import (
    ALIAS_EXISTS,
    ALIAS_NOT_FOUND,
    COLLECTION_NOT_FOUND,
    COLLECTION_NOT_LOADED,
    DATABASE_NOT_FOUND,
    INDEX_DUPLICATE,
    INDEX_NOT_FOUND,
    INVALID_PARAMETER,
    PARTITION_NOT_FOUND,
    UNEXPECTED,
    AmbiguousIndexName,
    DataNotMatchException,
    DataTypeNotMatchException,
    DescribeCollectionException,
    ExceptionsMessage,
    IndexNotExistException,
    MilvusException,
    ParamError,
    translated,
    unsupported,
)
from .results import Hit, Hits, HybridExtraList, SearchResult
from .schema import (
    AnnSearchRequest,
    BaseRanker,
    CollectionSchema,
    FieldSchema,
    Function,
    RRFRanker,
    WeightedRanker,
    index_config,
)
from .times import Times, filter_text, from_micros, to_micros, zone_of
from .types import VECTOR_TYPES, ConsistencyLevel, DataType, FieldOp, FieldOpType, LoadState

DEFAULT_DB = "default"
#: Where uris of servers lead to when nothing else is said.
DEFAULT_PATH = "milvus.vecdb"
#: Rows as they are written: dicts, or columns.
Rows = Union[List[Dict[str, Any]], Dict[str, List[Any]]]
_RESERVED_PARAMS = ("metric_type", "params", "offset", "limit", "index_type")

_lock = threading.RLock()
_stores: Dict[str, "Store"] = {}


def local_path(uri: str) -> Optional[str]:
    """The directory a uri stands for; None for memory.

    Paths are themselves. http://host:port leads to VECDB_MILVUS_PATH, or milvus.vecdb in the working directory.
    """
    if uri in (":memory:", "memory://"):
        return None
    if re.match(r"^(https?|tcp|unix|grpc)://", uri) or re.match(r"^[\w.-]+:\d+$", uri) or not uri:
        chosen = os.environ.get("VECDB_MILVUS_PATH", DEFAULT_PATH)
        return None if chosen == ":memory:" else chosen
    if uri.startswith("file://"):
        return uri[len("file://") :]
    return uri


def open_store(uri: str, durability: Optional[str] = None) -> "Store":
    """The store of a uri, shared by all clients of this process; give it back with release()."""
    path = local_path(str(uri))
    key = ":memory:" if path is None else os.path.realpath(path)
    with _lock:
        store = _stores.get(key)
        if store is None:
            store = Store(None if path is None else key, key, durability)
            _stores[key] = store
        store.users += 1
        return store


class Store:
    """One directory with its databases."""

    def __init__(self, path: Optional[str], key: str, durability: Optional[str] = None) -> None:
        self.path = path
        self.durability = durability or os.environ.get("VECDB_MILVUS_DURABILITY") or "full"
        self.key = key
        self.users = 0
        self._databases: Dict[str, "Base"] = {}
        self._lock = threading.RLock()
        if path is not None and os.path.isfile(path):
            raise MilvusException(
                UNEXPECTED, f"{path} is a file; a vecdb database is a directory (files of other databases are not read)"
            )
        self.base(DEFAULT_DB)

    def base(self, name: str) -> "Base":
        name = name or DEFAULT_DB
        with self._lock:
            found = self._databases.get(name)
            if found is None:
                if name != DEFAULT_DB and not self._exists(name):
                    raise MilvusException(DATABASE_NOT_FOUND, f"database not found[database={name}]")
                found = Base(self, name, self._directory(name))
                self._databases[name] = found
            return found

    def _directory(self, name: str) -> Optional[str]:
        if self.path is None:
            return None
        return self.path if name == DEFAULT_DB else os.path.join(self.path, "databases", name)

    def _exists(self, name: str) -> bool:
        directory = self._directory(name)
        return name in self._databases or (directory is not None and os.path.isdir(directory))

    def names(self) -> List[str]:
        names = {DEFAULT_DB, *self._databases}
        if self.path is not None:
            folder = os.path.join(self.path, "databases")
            if os.path.isdir(folder):
                names.update(entry for entry in os.listdir(folder) if os.path.isdir(os.path.join(folder, entry)))
        return sorted(names, key=lambda name: (name != DEFAULT_DB, name))

    def create(self, name: str, properties: Optional[Mapping[str, Any]] = None) -> None:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,254}", name or ""):
            raise MilvusException(
                INVALID_PARAMETER, f"Invalid database name: {name}. it must be letters, digits and underscores"
            )
        with self._lock:
            if name == DEFAULT_DB or self._exists(name):
                raise MilvusException(UNEXPECTED, f"database already exist: {name}")
            zone_of((properties or {}).get("timezone"))
            base = Base(self, name, self._directory(name))
            base.meta["properties"] = dict(properties or {})
            base.save()
            self._databases[name] = base

    def drop(self, name: str) -> None:
        with self._lock:
            if name == DEFAULT_DB:
                raise MilvusException(UNEXPECTED, "can not drop default database")
            if not self._exists(name):
                return
            base = self.base(name)
            if base.names():
                raise MilvusException(UNEXPECTED, f"database:{name} not empty, must drop all collections before drop database")
            base.close()
            del self._databases[name]
            directory = self._directory(name)
            if directory is not None:
                shutil.rmtree(directory)

    def release(self) -> None:
        """One client less; the last one closes the files. Memory stays as long as the process: it has no other home."""
        with _lock:
            self.users -= 1
            if self.users > 0 or self.path is None:
                return
            _stores.pop(self.key, None)
            for base in self._databases.values():
                base.close()
            self._databases = {}


def close_memory() -> None:
    """Forget what is in the shared database in memory. For tests."""
    with _lock:
        store = _stores.pop(":memory:", None)
        if store is not None:
            for name in list(store._databases):
                store._databases[name].close()


class Base:
    """One Milvus database: a native one with Milvus' extra knowledge."""

    def __init__(self, store: Store, name: str, directory: Optional[str]) -> None:
        self.store = store
        self.name = name
        self.directory = directory
        if directory is not None:
            os.makedirs(directory, exist_ok=True)
        with translated():
            self.db = vecdb.open(directory) if directory is None else vecdb.open(directory, durability=store.durability)
        self.meta: Dict[str, Any] = {"properties": {}, "collections": {}}
        self._handles: Dict[str, vecdb.Collection] = {}
        self._lock = threading.RLock()
        self._read()

    # -- what vecdb does not keep --------------------------------------------------------------------------------

    def _file(self) -> Optional[str]:
        return None if self.directory is None else os.path.join(self.directory, "milvus.json")

    def _read(self) -> None:
        path = self._file()
        if path is None or not os.path.exists(path):
            return
        try:
            with open(path, encoding="utf-8") as file:
                found = json.load(file)
            if isinstance(found, dict) and isinstance(found.get("collections"), dict):
                self.meta = found
                self.meta.setdefault("properties", {})
        except (OSError, ValueError):
            pass  # it only holds what can be told again; the data is not in it

    def save(self) -> None:
        path = self._file()
        if path is None:
            return
        with self._lock:
            scratch = f"{path}.{os.getpid()}.new"
            with open(scratch, "w", encoding="utf-8") as file:
                json.dump(self.meta, file, indent=1)
            os.replace(scratch, path)

    def alter(self, properties: Mapping[str, Any]) -> None:
        """Keep properties with the database."""
        zone_of(properties.get("timezone"))
        self.meta["properties"].update(properties)
        self.save()

    def about(self, name: str) -> Dict[str, Any]:
        """Milvus' facts about a collection."""
        facts: Dict[str, Any] = self.meta["collections"].setdefault(name, {})
        facts.setdefault("id", 1 + max((c.get("id", 0) for c in self.meta["collections"].values()), default=0))
        facts.setdefault("indexes", {})
        facts.setdefault("loaded", False)
        facts.setdefault("properties", {})
        facts.setdefault("consistency", int(ConsistencyLevel.Bounded))
        return facts

    def close(self) -> None:
        with self._lock:
            self._handles = {}
            self.db.close()

    # -- collections ---------------------------------------------------------------------------------------------

    def names(self) -> List[str]:
        return self.db.collections()

    def real_name(self, name: str) -> Optional[str]:
        """A collection's own name, given that or an alias; None when there is neither."""
        if not isinstance(name, str):
            raise ParamError(message=f"`collection_name` value {name!r} is illegal")
        if name in self._handles or name in self.db.collections():
            return name
        if name in self.db.aliases():
            for collection in self.db.collections():
                if name in self.db.aliases(collection):
                    return collection
        return None

    def has(self, name: str) -> bool:
        return self.real_name(name) is not None

    def require(self, name: str) -> str:
        real = self.real_name(name)
        if real is None:
            raise MilvusException(
                COLLECTION_NOT_FOUND, f"can't find collection[database={self.name}][collection={name}]"
            )
        return real

    def native(self, name: str) -> vecdb.Collection:
        """The open collection."""
        handle = self._handles.get(name)
        if handle is not None and not handle.closed:
            return handle
        real = self.require(name)
        with self._lock:
            handle = self._handles.get(real)
            if handle is None or handle.closed:
                with translated():
                    handle = self.db.collection(real)
                self._handles[real] = handle
            return handle

    def _forget(self, name: str) -> None:
        with self._lock:
            handle = self._handles.pop(name, None)
            if handle is not None:
                handle.close()

    def create(
        self,
        name: str,
        schema: CollectionSchema,
        *,
        consistency_level: Any = None,
        num_shards: Optional[int] = None,
        num_partitions: Optional[int] = None,
        properties: Optional[Mapping[str, Any]] = None,
    ) -> None:
        check_name("collection", name)
        if schema.struct_fields:
            raise unsupported("struct fields")
        for function in schema.functions:
            raise unsupported(f"function {function.name!r} ({function.type.name})")
        if self.real_name(name) is not None:
            if name in self.names() and self._same(name, schema):
                return  # as on a server, the same again is no mistake
            raise MilvusException(UNEXPECTED, f"create duplicate collection with different parameters, collection: {name}")
        ttl = ttl_of(properties or {})
        schema.verify()
        level = ConsistencyLevel.of(consistency_level)
        zone = (properties or {}).get("timezone") or self.meta["properties"].get("timezone")
        zone_of(zone)
        fields = [native_field(field, zone) for field in schema.fields]
        keyed = any(field.is_partition_key for field in schema.fields)
        if num_partitions and not keyed:
            num_partitions = None  # a server ignores it too
        with translated():
            handle = self.db.create_collection(
                name,
                fields,
                dynamic=schema.enable_dynamic_field,
                description=schema.description,
                ttl_field=(properties or {}).get("ttl_field"),
                num_partitions=num_partitions or 0,
                ttl_seconds=ttl or 0,
            )
        self._handles[name] = handle
        self.meta["collections"].pop(name, None)
        facts = self.about(name)
        facts["consistency"] = int(level)
        facts["num_shards"] = num_shards or 1
        facts["num_partitions"] = num_partitions
        facts["properties"] = {key: str(value) for key, value in (properties or {}).items()}
        facts["fields"] = {
            field.name: {key: field.params[key] for key in field.params if key not in ("dim", "max_length", "max_capacity")}
            for field in schema.fields
        }
        facts["times"] = [field.name for field in schema.fields if field.dtype == DataType.TIMESTAMPTZ]
        facts["created"] = int(time.time() * 1000)
        self.save()

    def _same(self, name: str, schema: CollectionSchema) -> bool:
        """Whether a collection has this schema."""
        mine, other = self.schema(name).to_dict(), schema.to_dict()
        return all(mine.get(key) == other.get(key) for key in ("fields", "enable_dynamic_field"))

    def drop(self, name: str) -> None:
        real = self.real_name(name)
        if real is None:
            return
        if real != name:
            raise MilvusException(UNEXPECTED, f"cannot drop the collection via alias = {name}")
        for alias in self.db.aliases(real):
            self.db.drop_alias(alias)
        self._forget(real)
        with translated():
            self.db.drop_collection(real)
        self.meta["collections"].pop(real, None)
        self.save()

    def rename(self, old: str, new: str, target_db: str = "") -> None:
        real = self.require(old)
        check_name("collection", new)
        if target_db and target_db != self.name:
            self._move(real, new, self.store.base(target_db))
            return
        if self.real_name(new) is not None:
            raise MilvusException(UNEXPECTED, f"duplicated new collection name {self.name}:{new} with other collection name or alias")
        self._forget(real)
        with translated():
            self.db.rename_collection(real, new)
        self.meta["collections"][new] = self.meta["collections"].pop(real, {})
        self.save()

    def _move(self, real: str, new: str, target: "Base") -> None:
        """A collection into another database, which is another directory: its rows are copied, on disk, and dropped here."""
        if target.real_name(new) is not None:
            raise MilvusException(UNEXPECTED, f"duplicated new collection name {target.name}:{new} with other collection name or alias")
        if self.db.aliases(real):
            raise MilvusException(UNEXPECTED, f"fail to rename db name, must drop all aliases of {real} before rename db name")
        source = self.native(real)
        facts = json.loads(json.dumps(self.about(real)))
        wanted = {name: facts["indexes"][name] for name in facts["indexes"]}
        with translated():
            copy = target.db.create_collection(new, source.schema)
        try:
            with translated():
                keyed = any(field.partition_key for field in source.schema.fields)
                for partition in [None] if keyed else source.partitions():
                    if partition is not None and partition not in copy.partitions():
                        copy.create_partition(partition)
                    chosen = None if partition is None else [partition]
                    with source.query_iterator(None, ["*"], 10000, partitions=chosen) as pages:
                        for rows in pages:
                            copy.upsert(rows, partition=partition)
            target._handles[new] = copy
            target.meta["collections"][new] = {**facts, "indexes": {}}
            target.meta["collections"][new].pop("id")
            target.about(new)
            for index in wanted.values():
                target.create_index(new, index["field"], {**index["params"], "index_type": index["index_type"], "metric_type": index["metric_type"]}, index["name"])
            target.save()
            with translated():
                target.db.sync()
        except BaseException:
            target.meta["collections"].pop(new, None)
            target._handles.pop(new, None)
            copy.close()
            target.db.drop_collection(new)
            raise
        self.drop(real)

    def times(self, name: str) -> Optional[Times]:
        """The collection's TIMESTAMPTZ fields; None when there are none, as mostly."""
        names = self.meta["collections"].get(name, {}).get("times")
        if not names:
            return None
        facts = self.about(name)
        return Times(names, facts["properties"].get("timezone") or self.meta["properties"].get("timezone"))

    def filter(self, name: str, text: Optional[str]) -> Optional[str]:
        """A filter as the library takes it."""
        times = self.times(name) if text and isinstance(text, str) else None
        return filter_text(text, times.zone) if times is not None else text

    def schema(self, name: str) -> CollectionSchema:
        real = self.require(name)
        found = self.native(real).schema
        extra = self.about(real).get("fields", {})
        times = self.times(real)
        fields = []
        for field in found.fields:
            options: Dict[str, Any] = dict(extra.get(field.name, {}))
            if field.dim:
                options["dim"] = field.dim
            if field.type == vecdb.DataType.VARCHAR or field.element_type == vecdb.DataType.VARCHAR:
                options["max_length"] = field.max_length or 65535
            if field.type == vecdb.DataType.ARRAY:
                options["max_capacity"] = field.max_capacity or 4096
                options["element_type"] = DataType(int(field.element_type))
            if field.default is not None:
                options["default_value"] = field.default
            if field.primary_key:
                options["is_primary"] = True
                options["auto_id"] = field.auto_id
            timed = times is not None and field.name in times.names
            if timed and times is not None and field.default is not None:
                options["default_value"] = from_micros(field.default, times.zone)
            fields.append(
                FieldSchema(
                    field.name,
                    DataType.TIMESTAMPTZ if timed else DataType(int(field.type)),
                    field.description,
                    nullable=field.nullable,
                    is_partition_key=field.partition_key,
                    **options,
                )
            )
        return CollectionSchema(fields, found.description, enable_dynamic_field=found.dynamic)

    def describe(self, name: str) -> Dict[str, Any]:
        real = self.real_name(name)
        if real is None:
            raise DescribeCollectionException(
                COLLECTION_NOT_FOUND, f"can't find collection[database={self.name}][collection={name}]"
            )
        schema = self.schema(real)
        facts = self.about(real)
        fields = []
        for i, field in enumerate(schema.fields):
            entry: Dict[str, Any] = {
                "field_id": 100 + i,
                "name": field.name,
                "description": field.description,
                "type": field.dtype,
                "params": dict(field.params),
            }
            if field.auto_id:
                entry["auto_id"] = True
            if field.is_primary:
                entry["is_primary"] = True
            if field.element_type is not None:
                entry["element_type"] = field.element_type
            if field.is_partition_key:
                entry["is_partition_key"] = True
            if field.nullable:
                entry["nullable"] = True
            if field.default_value is not None:
                entry["default_value"] = field.default_value
            fields.append(entry)
        level = ConsistencyLevel(facts["consistency"])
        created = facts.get("created", 0)
        return {
            "collection_name": real,
            "auto_id": schema.auto_id,
            "num_shards": facts.get("num_shards", 1),
            "description": schema.description,
            "fields": fields,
            "struct_array_fields": [],
            "functions": [],
            "aliases": self.db.aliases(real),
            "collection_id": facts["id"],
            "consistency_level": int(level),
            "consistency_level_name": level.name,
            "properties": dict(facts["properties"]),
            "num_partitions": len(self.native(real).partitions()),
            "enable_dynamic_field": schema.enable_dynamic_field,
            "enable_namespace": False,
            "schema_version": 0,
            "created_timestamp": created << 18,
            "update_timestamp": facts.get("updated", created) << 18,
        }

    # -- load state ----------------------------------------------------------------------------------------------

    def load(self, name: str) -> None:
        real = self.require(name)
        vectors = [field.name for field in self.native(real).schema.vector_fields()]
        indexed = {index["field"] for index in self.about(real)["indexes"].values()}
        missing = [field for field in vectors if field not in indexed]
        if missing:
            raise MilvusException(
                INDEX_NOT_FOUND if len(missing) == len(vectors) else UNEXPECTED,
                f"there is no vector index on field: {missing}, please create index firstly: "
                f"index not found[collection={real}]",
            )
        self._set_loaded(real, True)

    def release(self, name: str) -> None:
        real = self.require(name)
        self._set_loaded(real, False)

    def load_partitions(self, name: str, partitions: Sequence[str], loaded: bool) -> None:
        """Partitions cost nothing while loaded; what was loaded by its own name is only not to be dropped."""
        self._check_partitions(self.native(name), partitions)
        real = self.require(name)
        facts = self.about(real)
        before = list(facts.get("loaded_partitions", ()))
        if loaded:
            self.load(real)
        after = [each for each in before if each not in partitions] + (list(partitions) if loaded else [])
        if after != before:
            facts["loaded_partitions"] = after
            self.save()

    def _set_loaded(self, real: str, loaded: bool) -> None:
        facts = self.about(real)
        if not loaded and facts.pop("loaded_partitions", None):
            self.save()
        if facts["loaded"] != loaded or facts.get("released"):
            facts["loaded"] = loaded
            facts.pop("released", None)
            self.save()

    def load_state(self, name: str) -> LoadState:
        real = self.real_name(name)
        if real is None:
            return LoadState.NotExist
        return LoadState.Loaded if self.about(real)["loaded"] else LoadState.NotLoad

    def loaded(self, name: str) -> vecdb.Collection:
        """The collection, which must be loaded."""
        real = self.require(name)
        if not self.about(real)["loaded"]:
            raise MilvusException(COLLECTION_NOT_LOADED, f"collection not loaded[collection={real}]")
        return self.native(real)

    # -- writing -------------------------------------------------------------------------------------------------

    def insert_rows(self, name: str, data: Any, partition: Optional[str] = None) -> List[Any]:
        """Insert as Milvus does: a key that is there already is written over."""
        collection = self.native(name)
        times = self.times(collection.name)
        rows = checked_rows(collection.schema, times.rows(as_rows(data)) if times else data)
        if not rows:
            return []
        primary = collection.schema.primary
        assert primary is not None
        with writing(partition, name):
            makes_ids = primary.auto_id and primary.name not in (rows if isinstance(rows, dict) else rows[0])
            write = collection.insert if makes_ids else collection.upsert
            keys = write(rows, partition=self._partition(collection, partition))
        return keys.tolist() if hasattr(keys, "tolist") else list(keys)

    def insert_columns(self, name: str, columns: Mapping[str, Any], partition: Optional[str] = None, upsert: bool = False) -> List[Any]:
        collection = self.native(name)
        primary = collection.schema.primary
        assert primary is not None
        times = self.times(collection.name)
        if times is not None:
            columns = times.columns(columns)
        with writing(partition, name):
            write = collection.insert if primary.auto_id and primary.name not in columns else collection.upsert
            keys = write(sparse_numbers(collection.schema, dict(columns)), partition=self._partition(collection, partition))
        return keys.tolist() if hasattr(keys, "tolist") else list(keys)

    def upsert_rows(
        self,
        name: str,
        data: Any,
        partition: Optional[str] = None,
        partial: bool = False,
        field_ops: Optional[Mapping[str, Any]] = None,
    ) -> List[Any]:
        collection = self.native(name)
        primary = collection.schema.primary
        assert primary is not None
        times = self.times(collection.name)
        if times is not None:
            data = times.rows(as_rows(data))
        rows: Rows
        ops = {field: FieldOp.of(field, op) for field, op in (field_ops or {}).items()}
        if partial or any(ops.values()):
            rows = self._completed(collection, as_rows(data), ops)
        else:
            rows = checked_rows(collection.schema, data, upsert=True)
        if not rows:
            return []
        with writing(partition, name):
            keys = collection.upsert(rows, partition=self._partition(collection, partition))
        return keys.tolist() if hasattr(keys, "tolist") else list(keys)

    def _completed(self, collection: vecdb.Collection, rows: List[Dict[str, Any]], ops: Mapping[str, FieldOpType]) -> Rows:
        """Rows of a partial update, filled up with what is stored."""
        primary = collection.schema.primary
        assert primary is not None
        keys = []
        for row in rows:
            if primary.name not in row:
                raise DataNotMatchException(message=ExceptionsMessage.UpsertPrimaryKeyEmpty)
            keys.append(row[primary.name])
        with translated():
            stored = {row[primary.name]: row for row in collection.get(keys, ["*"])}
        full = []
        for row in rows:
            before = stored.get(row[primary.name], {})
            merged = {**before, **row}
            for field, op in ops.items():
                if op and field in row:
                    merged[field] = changed_array(collection.schema, field, before.get(field), row[field], op)
            full.append(merged)
            stored[row[primary.name]] = merged
        return checked_rows(collection.schema, full, upsert=True)

    def _partition(self, collection: vecdb.Collection, partition: Optional[str]) -> Optional[str]:
        if not partition:
            return None
        if partition not in collection.partitions():
            raise MilvusException(PARTITION_NOT_FOUND, f"partition not found[partition={partition}]")
        return partition

    def delete(
        self,
        name: str,
        ids: Any = None,
        filter: Optional[str] = None,
        filter_params: Optional[Mapping[str, Any]] = None,
        partition: Optional[str] = None,
    ) -> int:
        collection = self.native(name)
        if ids is not None:
            ids = primary_keys(collection.schema, ids)
        filter = self.filter(collection.name, filter)
        with translated():
            if partition:
                chosen = self._partition(collection, partition)
                primary = collection.schema.primary
                assert primary is not None
                if ids is not None:
                    wanted = set(ids)
                    rows = collection.query(None, [primary.name], partitions=[chosen or ""])
                    ids = [row[primary.name] for row in rows if row[primary.name] in wanted]
                else:
                    rows = collection.query(filter, [primary.name], filter_params=filter_params, partitions=[chosen or ""])
                    ids = [row[primary.name] for row in rows]
                return collection.delete(ids) if ids else 0
            if ids is not None:
                return collection.delete(ids)
            return collection.delete(filter=filter, filter_params=filter_params)

    # -- reading -------------------------------------------------------------------------------------------------

    def _output(self, collection: vecdb.Collection, fields: Optional[Sequence[str]]) -> Optional[List[str]]:
        """Output fields as vecdb takes them; names that nothing has are an error, unless the collection is dynamic."""
        if not fields:
            return None
        if isinstance(fields, str):
            raise ParamError(message=f"`output_fields` value {fields} is illegal")
        out: List[str] = []
        schema = collection.schema
        for name in fields:
            if name in ("*", "%"):
                name = "*"
            elif name not in schema and not schema.dynamic:
                raise MilvusException(UNEXPECTED, f"field {name} not exist")
            if name not in out:
                out.append(name)
        return out

    def query(
        self,
        name: str,
        filter: Optional[str] = "",
        output_fields: Optional[Sequence[str]] = None,
        *,
        ids: Any = None,
        partitions: Optional[Sequence[str]] = None,
        limit: Optional[int] = None,
        offset: Optional[int] = None,
        filter_params: Optional[Mapping[str, Any]] = None,
        order_by: Optional[str] = None,
        more: Optional[Mapping[str, Any]] = None,
    ) -> HybridExtraList:
        collection = self.loaded(name)
        if filter is not None and not isinstance(filter, str):
            raise DataTypeNotMatchException(message=ExceptionsMessage.ExprType % type(filter))
        if limit is not None:
            check_limit(limit)
        filter = self.filter(collection.name, filter)
        self._check_partitions(collection, partitions)
        if output_fields and "count(*)" in output_fields:
            if limit:
                raise MilvusException(UNEXPECTED, "count entities with pagination is not allowed")
            with translated():
                if ids is not None:
                    total = len(collection.get(primary_keys(collection.schema, ids), [self._key(collection)]))
                elif partitions:
                    total = len(collection.query(filter or None, [self._key(collection)], filter_params=filter_params, partitions=list(partitions)))
                else:
                    total = collection.count(filter or None, filter_params=filter_params)
            return HybridExtraList([{"count(*)": total}])
        output = self._output(collection, output_fields or ["*"])
        with translated():
            if ids is not None:
                rows = collection.get(primary_keys(collection.schema, ids), output)
                if partitions:
                    inside = collection.query(None, [self._key(collection)], partitions=list(partitions))
                    keys = {row[self._key(collection)] for row in inside}
                    rows = [row for row in rows if row[self._key(collection)] in keys]
                if offset or limit:
                    rows = rows[offset or 0 :][: limit or None]
            else:
                rows = collection.query(
                    filter or None,
                    output,
                    limit=limit,
                    offset=offset or 0,
                    order_by=order_by,
                    filter_params=filter_params,
                    partitions=list(partitions) if partitions else None,
                )
        return HybridExtraList(self._plain(collection, rows, output, more))

    def _key(self, collection: vecdb.Collection) -> str:
        assert collection.schema.primary is not None
        return collection.schema.primary.name

    def _plain(
        self,
        collection: vecdb.Collection,
        rows: List[Dict[str, Any]],
        output: Optional[List[str]],
        more: Optional[Mapping[str, Any]] = None,
    ) -> List[Dict[str, Any]]:
        """Rows with vectors as Milvus gives them; dynamic keys that a row lacks are left out."""
        makers = vector_makers(collection.schema)
        schema = collection.schema
        loose = schema.dynamic and output is not None and any(name != "*" and name not in schema for name in output)
        times = self.times(collection.name)
        for row in rows:
            if times is not None:
                times.show(row, more)
            for name, make in makers.items():
                if row.get(name) is not None:
                    row[name] = make(row[name])
            if loose:
                for name in output or ():
                    if name not in schema and name in row and row[name] is None:
                        del row[name]
        return rows

    def _check_partitions(self, collection: vecdb.Collection, partitions: Optional[Sequence[str]]) -> None:
        if not partitions:
            return
        known = collection.partitions()
        for partition in partitions:
            if partition not in known:
                raise MilvusException(PARTITION_NOT_FOUND, f"partition name {partition} not found: partition not found[partition={partition}]")

    def search_options(self, name: str, field: str, param: Optional[Mapping[str, Any]], more: Mapping[str, Any]) -> Dict[str, Any]:
        """Milvus' search parameters as Collection.search takes them.

        Parameters that the field's index has no use for are ignored: programs pass ef to an IVF index.
        """
        flat: Dict[str, Any] = {}
        param = dict(param or {})
        nested = param.get("params") or {}
        if isinstance(nested, str):
            nested = json.loads(nested)
        for key, value in {**{k: v for k, v in param.items() if k != "params"}}.items():
            flat[key] = value
        for key, value in nested.items():
            if key in flat and flat[key] != value:
                raise ParamError(message=f"ambiguous parameter: {key}, in search_param: {flat[key]}, in search_param.params: {value}")
            flat[key] = value
        for key in ("offset", "group_by_field", "group_size", "strict_group_size", "round_decimal"):
            if more.get(key) is not None:
                flat[key] = more[key]
        facts = self.about(name)
        index = next((entry for entry in facts["indexes"].values() if entry["field"] == field), None)
        options: Dict[str, Any] = {}
        wanted = str(flat.pop("metric_type", "") or "").upper()
        if wanted and index is not None and index.get("metric_type") and wanted != index["metric_type"]:
            raise MilvusException(
                INVALID_PARAMETER,
                f"fail to search: metric type not match: invalid [expected={index['metric_type']}][actual={wanted}]: invalid parameter",
            )
        if wanted:
            options["metric_type"] = wanted
        for key, target in (("radius", "radius"), ("range_filter", "range_filter"), ("group_by_field", "group_by")):
            if flat.get(key) is not None:
                options[target] = flat[key]
            flat.pop(key, None)
        if flat.get("offset"):
            options["offset"] = check_count("offset", flat["offset"])
        if flat.get("group_size") is not None:
            options["group_size"] = check_count("group_size", flat["group_size"], 1)
        if flat.get("strict_group_size") is not None:
            options["strict_group_size"] = bool(flat["strict_group_size"])
        if flat.get("round_decimal") is not None:
            decimals = flat["round_decimal"]
            if isinstance(decimals, bool) or not isinstance(decimals, int) or not -1 <= decimals <= 6:
                raise ParamError(message=f"`round_decimal` value {decimals} is illegal")
            options["round_decimal"] = decimals
        kind = self._index_kind(name, index) if index else ""
        known = search_params_of(kind)
        params = {}
        for key, value in flat.items():
            if key in known:
                params[key] = value
        if params:
            options["params"] = params
        return options

    def _index_kind(self, name: str, index: Mapping[str, Any]) -> str:
        """The kind behind an index, also of an AUTOINDEX."""
        kind = str(index.get("index_type") or "AUTOINDEX").upper()
        if kind == "AUTOINDEX":
            try:
                kind = str(self.native(name).index(index["name"]).get("type", kind)).upper()
            except native.VecdbError:
                pass
        return kind

    def search(
        self,
        name: str,
        data: Any,
        field: str = "",
        limit: int = 10,
        *,
        param: Optional[Mapping[str, Any]] = None,
        filter: Optional[str] = None,
        filter_params: Optional[Mapping[str, Any]] = None,
        output_fields: Optional[Sequence[str]] = None,
        partitions: Optional[Sequence[str]] = None,
        ids: Any = None,
        timeout: Optional[float] = None,
        more: Optional[Mapping[str, Any]] = None,
    ) -> SearchResult:
        collection = self.loaded(name)
        real = collection.name
        check_limit(limit)
        if filter is not None and not isinstance(filter, str):
            raise DataTypeNotMatchException(message=ExceptionsMessage.ExprType % type(filter))
        target = self.vector_field(collection, field)
        if ids is not None:
            data = self._vectors_of(collection, target, ids)
        queries = query_vectors(data, target)
        options = self.search_options(real, target.name, param, more or {})
        filter = self.filter(real, filter)
        self._check_partitions(collection, partitions)
        output = self._output(collection, output_fields)
        with translated():
            result = collection.search(
                queries,
                limit,
                field=target.name,
                filter=filter or None,
                filter_params=filter_params or None,
                output_fields=output,
                partitions=list(partitions) if partitions else None,
                timeout=timeout,
                **options,
            )
        return self.shaped(collection, result, output, more)

    def _vectors_of(self, collection: vecdb.Collection, field: vecdb.Field, ids: Any) -> List[Any]:
        """Search by keys: the vectors of these rows."""
        keys = ids if isinstance(ids, (list, tuple)) else [ids]
        with translated():
            rows = {row[self._key(collection)]: row[field.name] for row in collection.get(list(keys), [field.name])}
        for key in keys:
            if key not in rows:
                raise MilvusException(UNEXPECTED, f"search by ids: no entity with primary key {key!r}")
        return [rows[key] for key in keys]

    def vector_field(self, collection: vecdb.Collection, name: str) -> vecdb.Field:
        fields = collection.schema.vector_fields()
        if not name:
            if len(fields) == 1:
                return fields[0]
            raise MilvusException(UNEXPECTED, "multiple anns_fields exist, please specify a anns_field in search_params")
        found = collection.schema.get(name)
        if found is None:
            raise MilvusException(INVALID_PARAMETER, f"failed to create query plan: failed to get field schema by name: fieldName({name}) not found: invalid parameter")
        if not found.type.is_vector:
            raise MilvusException(INVALID_PARAMETER, f"field ({name}) to search is not of vector data type")
        return found

    def shaped(
        self, collection: vecdb.Collection, result: vecdb.Result, output: Optional[List[str]], more: Optional[Mapping[str, Any]] = None
    ) -> SearchResult:
        """A native result in pymilvus' shape."""
        key = self._key(collection)
        if not output:
            return SearchResult(
                [
                    Hits([Hit({key: i, "distance": d, "entity": {}}, key) for i, d in zip(_plain(hits.ids), _plain(hits.distances))], key)
                    for hits in result
                ]
            )
        schema = collection.schema
        makers = vector_makers(schema)
        bare = {field.name for field in schema.vector_fields() if makers.get(field.name, _plain) is not _plain}
        times = self.times(collection.name)
        found = []
        for hits in result:
            row_hits = []
            for hit in hits:
                entity = {}
                for name in hit:
                    value = hit[name]
                    if value is None and name not in schema:
                        continue
                    if value is not None and name in makers:
                        value = makers[name](value)
                        if name in bare:  # bytes as they are in a search, in a list in a query: so pymilvus has it
                            value = value[0]
                    entity[name] = value
                if times is not None:
                    times.show(entity, more)
                row_hits.append(Hit({key: hit.id, "distance": hit.distance, "entity": entity}, key))
            found.append(Hits(row_hits, key))
        return SearchResult(found)

    def hybrid_search(
        self,
        name: str,
        requests: Sequence[AnnSearchRequest],
        ranker: Any,
        limit: int = 10,
        *,
        output_fields: Optional[Sequence[str]] = None,
        partitions: Optional[Sequence[str]] = None,
        more: Optional[Mapping[str, Any]] = None,
    ) -> SearchResult:
        collection = self.loaded(name)
        check_limit(limit)
        more = more or {}
        if not isinstance(requests, (list, tuple)) or not requests:
            raise ParamError(message="the requests of a hybrid search must be a list of AnnSearchRequest")
        self._check_partitions(collection, partitions)
        searches = []
        for request in requests:
            target = self.vector_field(collection, request.anns_field)
            options = self.search_options(collection.name, target.name, request.param, {})
            searches.append(
                vecdb.Search(
                    query_vectors(request.data, target),
                    check_limit(request.limit),
                    field=target.name,
                    filter=self.filter(collection.name, request.expr) or None,
                    filter_params=request.expr_params or None,
                    **({"partitions": list(partitions)} if partitions else {}),
                    **options,
                )
            )
        fuse: Dict[str, Any] = {}
        if isinstance(ranker, Function):
            ranker = ranker_of(ranker)
        described = ranker.dict() if isinstance(ranker, BaseRanker) or hasattr(ranker, "dict") else {}
        strategy = described.get("strategy")
        if strategy == "rrf":
            fuse = {"ranker": "rrf", "k": described["params"].get("k", 60)}
            k = fuse["k"]
            if isinstance(k, bool) or not isinstance(k, (int, float)) or not 0 < k < 16384:
                raise MilvusException(INVALID_PARAMETER, f"The rank params k should be in range (0, 16384), got {k}")
        elif strategy == "weighted":
            weights = described["params"]["weights"]
            if len(weights) != len(searches):
                raise MilvusException(
                    INVALID_PARAMETER,
                    f"the length of weights param mismatch with ann search requests: invalid parameter[expected={len(searches)}][actual={len(weights)}]",
                )
            fuse = {"ranker": "weighted", "weights": weights, "normalize": described["params"].get("norm_score", True)}
        else:
            raise unsupported(f"ranker {type(ranker).__name__}")
        output = self._output(collection, output_fields)
        with translated():
            result = collection.hybrid_search(
                searches,
                limit,
                offset=check_count("offset", more.get("offset") or 0),
                output_fields=output,
                round_decimal=more["round_decimal"] if more.get("round_decimal") is not None else -1,
                **fuse,
            )
        return self.shaped(collection, result, output, more)

    # -- indexes -------------------------------------------------------------------------------------------------

    def create_index(self, name: str, field: str, raw: Mapping[str, Any], index_name: str = "") -> None:
        real = self.require(name)
        collection = self.native(real)
        facts = self.about(real)
        config = index_config(dict(raw))
        for key in ("collection_name", "field_name", "index_name"):
            config.pop(key, None)
        target = collection.schema.get(field)
        if target is None and not collection.schema.dynamic:
            raise MilvusException(UNEXPECTED, f"cannot create index on non-exist field: {field}")
        kind = str(config.pop("index_type", "") or "AUTOINDEX").upper()
        metric_type = str(config.pop("metric_type", "") or "").upper()
        config.pop("mmap.enabled", None)
        index_name = index_name or field
        json_path = config.get("json_path") or field if target is None or target.type == vecdb.DataType.JSON else None
        for known, entry in facts["indexes"].items():
            taken = entry["field"] == field and (json_path is None or (entry["params"].get("json_path") or field) == json_path)
            if taken or known == index_name:
                if entry["field"] == field and known == index_name and entry["index_type"] == kind and (
                    not metric_type or metric_type == entry.get("metric_type")
                ) and entry["params"] == config:
                    return  # the same again
                raise MilvusException(
                    65535 if taken else INDEX_DUPLICATE,
                    f"at most one distinct index is allowed per field: creating multiple indexes on same field is not supported"
                    if taken
                    else f"index already exists[indexName={index_name}]",
                )
        vector = target is not None and target.type.is_vector
        if vector and not metric_type:
            metric_type = _METRICS.get(target.type, "COSINE") if target is not None else ""
        with translated():
            collection.create_index(
                field,
                native_index(kind, vector),
                metric_type=metric_type if vector else None,
                name=index_name,
                params=known_build_params(kind, config) if vector else scalar_params(config, json_path),
            )
        facts["indexes"][index_name] = {
            "name": index_name,
            "field": field,
            "index_type": kind,
            "metric_type": metric_type if vector else "",
            "params": config,
        }
        self.save()

    def indexes(self, name: str, field: str = "") -> List[Dict[str, Any]]:
        real = self.require(name)
        return [entry for entry in self.about(real)["indexes"].values() if not field or entry["field"] == field]

    def find_index(self, name: str, index_name: str = "") -> Optional[Dict[str, Any]]:
        found = self.indexes(name)
        if index_name:
            return next((entry for entry in found if index_name in (entry["name"], entry["field"])), None)
        if len(found) > 1:
            raise AmbiguousIndexName(message=ExceptionsMessage.AmbiguousIndexName)
        return found[0] if found else None

    def index_progress(self, name: str, index: Optional[Mapping[str, Any]] = None) -> Dict[str, Any]:
        """Rows and how many are indexed. As in Milvus only sealed rows wait for an index: programs wait until none does."""
        collection = self.native(name)
        with translated():
            facts = collection.stats()
            pending = 0
            if index is not None:
                try:
                    sealed = facts["rows"] - facts.get("growing_rows", 0)
                    pending = max(0, sealed - collection.index(index["name"]).get("indexed_rows", sealed))
                except native.NotFoundError:
                    pass
        return {
            "total_rows": facts["rows"],
            "indexed_rows": facts["rows"] - pending,
            "pending_index_rows": pending,
            "state": "InProgress" if pending else "Finished",
        }

    def drop_index(self, name: str, index_name: str) -> None:
        real = self.require(name)
        facts = self.about(real)
        entry = facts["indexes"].get(index_name)
        if entry is None:
            entry = next((found for found in facts["indexes"].values() if found["field"] == index_name), None)
        if entry is None:
            return
        collection = self.native(real)
        field = collection.schema.get(entry["field"])
        if field is not None and field.type.is_vector and facts["loaded"]:
            raise MilvusException(
                UNEXPECTED, "vector index cannot be dropped on loaded collection: " + real
            )
        with translated():
            try:
                collection.drop_index(entry["name"])
            except native.NotFoundError:
                pass
        del facts["indexes"][entry["name"]]
        self.save()

    # -- partitions and aliases ----------------------------------------------------------------------------------

    def create_partition(self, name: str, partition: str) -> None:
        collection = self.native(name)
        check_name("partition", partition)
        if any(field.partition_key for field in collection.schema.fields):
            raise MilvusException(UNEXPECTED, "disable create partition if partition key mode is used")
        if partition in collection.partitions():
            return  # as a server does
        with translated():
            collection.create_partition(partition)

    def drop_partition(self, name: str, partition: str) -> None:
        collection = self.native(name)
        if any(field.partition_key for field in collection.schema.fields):
            raise MilvusException(UNEXPECTED, "disable drop partition if partition key mode is used")
        if partition == "_default":
            raise MilvusException(UNEXPECTED, "default partition cannot be deleted")
        if partition not in collection.partitions():
            return
        real = self.require(name)
        if partition in self.about(real).get("loaded_partitions", ()):
            raise MilvusException(UNEXPECTED, f"partition cannot be dropped, partition is loaded, please release it first[partition={partition}]")
        with translated():
            collection.drop_partition(partition)

    def partition_rows(self, name: str, partition: str) -> int:
        collection = self.native(name)
        self._check_partitions(collection, [partition])
        with translated():
            columns = collection.query(None, [self._key(collection)], partitions=[partition], as_columns=True)
        return len(columns[self._key(collection)])

    def create_alias(self, name: str, alias: str) -> None:
        check_name("alias", alias)
        real = self.require(name)
        if alias in self.db.aliases():
            if alias in self.db.aliases(real):
                return
            raise MilvusException(ALIAS_EXISTS, f"{alias} is alias to another collection: alias already exist[database={self.name}][alias={alias}]")
        if alias in self.db.collections():
            raise MilvusException(1601, f"alias and collection name conflict[database={self.name}][alias={alias}]")
        with translated():
            self.db.set_alias(alias, real)

    def alter_alias(self, name: str, alias: str) -> None:
        real = self.require(name)
        if alias not in self.db.aliases():
            raise MilvusException(ALIAS_NOT_FOUND, f"alias not found[database={self.name}][alias={alias}]")
        with translated():
            self.db.set_alias(alias, real, move=True)

    def drop_alias(self, alias: str) -> None:
        if alias in self.db.aliases():
            with translated():
                self.db.drop_alias(alias)

    def describe_alias(self, alias: str) -> Dict[str, Any]:
        for collection in self.db.collections():
            if alias in self.db.aliases(collection):
                return {"alias": alias, "collection_name": collection, "db_name": self.name}
        raise MilvusException(ALIAS_NOT_FOUND, f"alias not found[database={self.name}][alias={alias}]")

    def add_field(self, name: str, field: FieldSchema) -> None:
        real = self.require(name)
        if not field.nullable and field.default_value is None:
            raise MilvusException(INVALID_PARAMETER, f"added field must be nullable, please check it, field name = {field.name}: invalid parameter")
        times = self.times(real)
        native = native_field(field, times.zone if times else self.about(real)["properties"].get("timezone"))
        with translated():
            self.native(real).add_field(native)
        if field.dtype == DataType.TIMESTAMPTZ:
            self.about(real).setdefault("times", []).append(field.name)
            self.save()

    def set_properties(self, name: str, properties: Mapping[str, Any]) -> None:
        real = self.require(name)
        facts = self.about(real)
        ttl = ttl_of(properties)
        zone_of(properties.get("timezone"))
        if ttl is not None:
            with translated():
                self.native(real).set_ttl(ttl)
        facts["properties"].update({key: str(value) for key, value in properties.items()})
        facts["updated"] = int(time.time() * 1000)
        self.save()

    def drop_properties(self, name: str, keys: Iterable[str]) -> None:
        real = self.require(name)
        facts = self.about(real)
        for key in keys:
            if key == "collection.ttl.seconds":
                with translated():
                    self.native(real).set_ttl(0)
            facts["properties"].pop(key, None)
        self.save()


# -- helpers -----------------------------------------------------------------------------------------------------


def check_name(what: str, name: Any) -> None:
    """Milvus' rule for names."""
    if not isinstance(name, str) or not name:
        raise ParamError(message=f"`{what}_name` value {name} is illegal")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,254}", name):
        raise MilvusException(
            INVALID_PARAMETER,
            f"Invalid {what} name: {name}. the first character must be an underscore or letter, and it can only contain "
            f"numbers, letters and underscores: invalid parameter",
        )


def primary_keys(schema: vecdb.Schema, ids: Any) -> Any:
    """Keys for the library. Milvus makes a filter's text of them, so there 7 finds the key "7", and "7" the key 7."""
    primary = schema.primary
    assert primary is not None
    keys = list(ids) if isinstance(ids, (list, tuple, set)) or hasattr(ids, "tolist") else [ids]
    if primary.type == vecdb.DataType.VARCHAR:
        return [str(key) if isinstance(key, int) and not isinstance(key, bool) else key for key in keys]
    return [int(key) if isinstance(key, str) and re.fullmatch(r"\s*[+-]?\d+\s*", key) else key for key in keys]


def check_limit(limit: Any) -> int:
    if isinstance(limit, bool) or not hasattr(limit, "__index__") or int(limit) <= 0:
        raise ParamError(message=f"`limit` value {limit} is illegal")
    return int(limit)


def check_count(what: str, value: Any, low: int = 0) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__") or int(value) < low:
        raise ParamError(message=f"`{what}` value {value} is illegal")
    return int(value)


def writing(partition: Optional[str], name: str) -> Any:
    """Failures of a write: what is wrong with the data is DataNotMatchException, as pymilvus finds it before sending."""
    return _Writing()


class _Writing:
    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, native.FieldTypeError):
            raise DataNotMatchException(1, error.message) from error
        if isinstance(error, native.VecdbError):
            with translated():
                raise error


def as_rows(data: Any) -> List[Dict[str, Any]]:
    if isinstance(data, dict):
        data = [data]
    if not isinstance(data, list):
        raise TypeError("wrong type of argument 'data',expected 'Dict' or list of 'Dict', got '" + type(data).__name__ + "'")
    for row in data if set(map(type, data)) - {dict} else ():
        if not isinstance(row, dict):
            raise TypeError("wrong type of argument 'data',expected 'Dict' or list of 'Dict', got a list of '" + type(row).__name__ + "'")
    return data


def checked_rows(schema: vecdb.Schema, data: Any, upsert: bool = False) -> Rows:
    """Rows as a client may send them: every field there or optional, no field too many. As columns where all is plain."""
    rows: List[Dict[str, Any]] = sparse_numbers(schema, as_rows(data))
    primary = schema.primary
    assert primary is not None
    required = [
        field.name
        for field in schema.fields
        if not field.nullable and field.default is None and not (field.primary_key and field.auto_id)
    ]
    if upsert:
        required.append(primary.name) if primary.name not in required else None
    columns = uniform_columns(rows)
    if (
        columns is not None
        and all(name in schema and type(None) not in set(map(type, values)) for name, values in columns.items())
        and all(name in columns for name in required)
        and not (primary.auto_id and not upsert and primary.name in columns)
    ):
        return columns
    for row in rows:
        for name in required:
            if row.get(name) is None:
                raise DataNotMatchException(message=ExceptionsMessage.InsertMissedField % name)
        if primary.auto_id and not upsert and primary.name in row:
            raise DataNotMatchException(
                message=f"more fieldData has pass in: Auto_id is True, primary field {primary.name!r} should not have data."
            )
        if not schema.dynamic:
            for name in row:
                if name not in schema:
                    raise DataNotMatchException(message=ExceptionsMessage.InsertUnexpectedField % name)
        elif META in row:
            raise DataNotMatchException(message=f"{META} is reserved for the dynamic field")
    return rows


def changed_array(schema: vecdb.Schema, name: str, before: Optional[Sequence[Any]], values: Any, op: FieldOpType) -> List[Any]:
    """An array after a partial update's operation."""
    field = schema.get(name)
    if field is None or field.type != vecdb.DataType.ARRAY:
        raise MilvusException(INVALID_PARAMETER, f"field {name}: {op.name} is for ARRAY fields")
    if op == FieldOpType.ARRAY_APPEND:
        return [*(before or ()), *values]
    return [value for value in before or () if value not in values]


def ttl_of(properties: Mapping[str, Any]) -> Optional[int]:
    """Seconds that rows live by a collection's properties: 0 for ever, None when nothing is said."""
    given = properties.get("collection.ttl.seconds")
    if given is None:
        return None
    try:
        return max(0, int(given))
    except (TypeError, ValueError):
        raise MilvusException(INVALID_PARAMETER, f"collection.ttl.seconds = {given!r} is no number of seconds: invalid parameter") from None


def native_field(field: FieldSchema, zone: Any = None) -> vecdb.Field:
    """A field for vecdb. Types it does not have are refused by name."""
    if field.dtype in (DataType.GEOMETRY, DataType.TEXT, DataType.STRUCT, DataType.STRING):
        raise unsupported(f"field {field.name!r}: type {field.dtype.name}")
    if field.element_type == DataType.STRUCT:
        raise unsupported(f"field {field.name!r}: an array of structs")
    params = field.params
    if field.dtype == DataType.SPARSE_FLOAT_VECTOR:
        if params.get("dim"):
            raise ParamError(message=f"dim should not be specified for sparse vector field {field.name}(104): invalid parameter")
    elif field.dtype in VECTOR_TYPES and not params.get("dim"):
        raise ParamError(message=f"dim is not set for vector field {field.name!r}")
    if field.dtype == DataType.VARCHAR and params.get("max_length") is None:
        raise ParamError(message=f"max_length is not set for VARCHAR field {field.name!r}")
    if field.dtype == DataType.ARRAY and field.element_type is None:
        raise ParamError(message=f"element_type is not set for ARRAY field {field.name!r}")
    if field.dtype == DataType.ARRAY and not params.get("max_capacity"):
        raise ParamError(message=f"max_capacity is not set for ARRAY field {field.name!r}")
    default: Any = field.default_value
    timed = field.dtype == DataType.TIMESTAMPTZ
    if timed:
        default = to_micros(field.name, default, zone if isinstance(zone, datetime.tzinfo) else zone_of(zone))
    with translated():
        return vecdb.Field(
            field.name,
            int(DataType.INT64 if timed else field.dtype),
            primary_key=field.is_primary,
            auto_id=field.auto_id,
            nullable=field.nullable,
            partition_key=field.is_partition_key,
            dim=params.get("dim", 0),
            max_length=params.get("max_length", 0),
            max_capacity=params.get("max_capacity", 0),
            element_type=int(field.element_type) if field.element_type is not None else None,
            default=default.item() if hasattr(default, "item") else default,
            description=field.description,
        )


#: Metrics that are meant where none is given; COSINE for the other vectors.
_METRICS = {vecdb.DataType.BINARY_VECTOR: "HAMMING", vecdb.DataType.SPARSE_FLOAT_VECTOR: "IP"}

#: Names that Milvus has beside the library's own.
_INDEX_NAMES = {"INVERTED_INDEX": "INVERTED", "MARISA-TRIE": "TRIE", "SORT": "STL_SORT", "HYBRID": "AUTOINDEX"}

#: Parameters of scalar indexes, and what the library calls them.
_SCALAR_PARAMS = {
    "json_path": "json_path",
    "json_cast_type": "json_cast_type",
    "min_gram": "min_gram",
    "max_gram": "max_gram",
    "bitmap_cardinality_limit": "bitmapCardinalityLimit",
    "bitmapCardinalityLimit": "bitmapCardinalityLimit",
}


def scalar_params(config: Mapping[str, Any], json_path: Optional[str]) -> Dict[str, Any]:
    """Parameters of a scalar index. Others say how Milvus stores it, and change no answer."""
    params = {_SCALAR_PARAMS[key]: value for key, value in config.items() if key in _SCALAR_PARAMS}
    if json_path is not None:
        params["json_path"] = json_path
    return params


def native_index(kind: str, vector: bool) -> Optional[str]:
    if kind == "AUTOINDEX":
        return None
    if vector:
        return kind
    return _INDEX_NAMES.get(kind, kind)


_params: Optional[Dict[str, Tuple[Set[str], Set[str]]]] = None


def _param_table() -> Dict[str, Tuple[Set[str], Set[str]]]:
    """Build and search parameters of each index kind."""
    global _params
    if _params is None:
        table: Dict[str, Tuple[Set[str], Set[str]]] = {}
        try:
            for param in vecdb.index_params():
                entry = table.setdefault(param.index_type.upper(), (set(), set()))
                entry[1 if param.for_search else 0].add(param.name)
        except native.UnsupportedError:
            pass
        _params = table
    return _params


def search_params_of(kind: str) -> Set[str]:
    return _param_table().get(kind, (set(), set()))[1]


def known_build_params(kind: str, config: Mapping[str, Any]) -> Dict[str, Any]:
    """Parameters for the library: what other kinds know and this one does not is ignored, as Milvus does; what no kind
    knows the library refuses."""
    table = _param_table()
    if kind not in table:
        return {} if kind == "AUTOINDEX" or kind in ("FLAT", "BIN_FLAT") else dict(config)
    foreign = set().union(*(build | search for build, search in table.values())) - table[kind][0] - table[kind][1]
    return {key: value for key, value in config.items() if key not in foreign}


def _plain(values: Any) -> List[Any]:
    return values.tolist() if hasattr(values, "tolist") else list(values)


def vector_makers(schema: vecdb.Schema) -> Dict[str, Any]:
    """For each vector field, how its values look in Milvus: lists of floats, or bytes in a list."""
    makers: Dict[str, Any] = {}
    for field in schema.vector_fields():
        if field.type == vecdb.DataType.SPARSE_FLOAT_VECTOR:
            continue  # dicts, as they are
        if field.type == vecdb.DataType.FLOAT_VECTOR:
            makers[field.name] = _plain
        elif field.type == vecdb.DataType.BFLOAT16_VECTOR:
            makers[field.name] = _bfloat16_bytes
        else:
            makers[field.name] = _vector_bytes(field)
    return makers


def _vector_bytes(field: vecdb.Field) -> Any:
    def make(value: Any) -> List[bytes]:
        if isinstance(value, bytes):
            return [value]
        if hasattr(value, "tobytes"):
            return [value.tobytes()]
        import struct

        code = {vecdb.DataType.FLOAT16_VECTOR: "e", vecdb.DataType.INT8_VECTOR: "b"}[field.type]
        return [struct.pack(f"={len(value)}{code}", *value)]

    return make


def _bfloat16_bytes(value: Any) -> List[bytes]:
    """bfloat16 values come as float32; their upper halves are the stored bits."""
    import array

    raw = array.array("f", value.tolist() if hasattr(value, "tolist") else value).tobytes()
    bits = array.array("I")
    bits.frombytes(raw)
    return [array.array("H", [bit >> 16 for bit in bits]).tobytes()]


def text_search() -> MilvusException:
    return unsupported("searching with text (it needs a BM25 or embedding function)")


def sparse_queries(data: Any) -> Any:
    """Sparse vectors of a search: a list of dicts or of lists of pairs, or a matrix."""
    if hasattr(data, "tocsr"):
        return data
    if not isinstance(data, (list, tuple)) or not data:
        raise ParamError(message=f"`data` value {data!r} is illegal")
    if isinstance(data[0], str):
        raise text_search()
    return [_numbers(one) for one in data]


def _numbers(value: Any) -> Any:
    """A sparse vector whose indexes or values may be text, which pymilvus takes for numbers."""
    if not value or not isinstance(value, (dict, list, tuple)):
        return value
    first = next(iter(value.items())) if isinstance(value, dict) else value[0]
    if not isinstance(first, (list, tuple)) or not any(isinstance(part, str) for part in first):
        return value
    try:
        return [(int(index), float(number)) for index, number in (value.items() if isinstance(value, dict) else value)]
    except (TypeError, ValueError):
        raise ParamError(message="input must be a sparse matrix in supported format") from None


def sparse_numbers(schema: vecdb.Schema, data: Any) -> Any:
    """Rows, or columns, with text in sparse vectors made numbers."""
    names = [field.name for field in schema.fields if field.type == vecdb.DataType.SPARSE_FLOAT_VECTOR]
    if not names:
        return data
    if isinstance(data, dict):
        return {
            name: list(map(_numbers, values)) if name in names and isinstance(values, list) else values for name, values in data.items()
        }
    return [{name: _numbers(value) if name in names else value for name, value in row.items()} for row in data]


def query_vectors(data: Any, field: vecdb.Field) -> Any:
    """The vectors of a search: always a list of them, also when one was given."""
    if data is None:
        raise ParamError(message="`data` value None is illegal")
    if isinstance(data, (str, dict)):
        raise ParamError(message=f"`data` value {data!r} is illegal")
    if field.type == vecdb.DataType.SPARSE_FLOAT_VECTOR:
        return sparse_queries(data)
    if isinstance(data, (bytes, bytearray)):
        return [data]
    if isinstance(data, (list, tuple)):
        if not data:
            raise ParamError(message=f"`data` value {data} is illegal")
        if isinstance(data[0], str):
            raise text_search()
        if isinstance(data[0], list) and len(data[0]) == 1 and isinstance(data[0][0], bytes):
            return [row[0] for row in data]
        if field.type == vecdb.DataType.FLOAT_VECTOR or not hasattr(data[0], "dtype"):
            return list(data)
    return data


def ranker_of(function: Function) -> BaseRanker:
    """Function(FunctionType.RERANK) with the classic rankers."""
    kind = str(function.params.get("reranker", "")).lower()
    if kind == "rrf":
        return RRFRanker(function.params.get("k", 60))
    if kind == "weighted":
        return WeightedRanker(*function.params.get("weights", []), norm_score=function.params.get("norm_score", True))
    raise unsupported(f"reranker {kind!r}")


def frame_columns(frame: Any) -> Dict[str, Any]:
    from .._tables import columns_from_pandas

    return columns_from_pandas(frame)


def is_frame(data: Any) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(data, pandas.DataFrame)


__all__ = ["Base", "Store", "IndexNotExistException", "close_memory", "local_path", "numpy", "open_store"]
