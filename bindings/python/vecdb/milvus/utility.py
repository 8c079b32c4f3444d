"""utility: functions over the connection of an alias."""

from __future__ import annotations

import datetime
from typing import Any, Callable, Dict, List, Optional

from .client import flush, server_version
from ._connections import connections
from .engine import Base
from .exceptions import IndexNotExistException, MilvusException, unsupported
from .types import LoadState


def _base(using: str) -> Base:
    return connections.fetch(using).base


def has_collection(collection_name: str, using: str = "default", timeout: Optional[float] = None) -> bool:
    """Whether there is a collection or alias of this name."""
    return _base(using).has(collection_name)


def list_collections(timeout: Optional[float] = None, using: str = "default") -> List[str]:
    """Names of the collections of a connection's database."""
    return _base(using).names()


def drop_collection(collection_name: str, timeout: Optional[float] = None, using: str = "default") -> None:
    """Drop a collection, its rows and its aliases."""
    _base(using).drop(collection_name)


def truncate_collection(collection_name: str, timeout: Optional[float] = None, using: str = "default", **kwargs: Any) -> None:
    _base(using).native(collection_name).truncate()


def rename_collection(
    old_collection_name: str, new_collection_name: str, new_db_name: str = "", timeout: Optional[float] = None, using: str = "default"
) -> None:
    """Give a collection another name; into another database its rows are copied."""
    _base(using).rename(old_collection_name, new_collection_name, new_db_name)


def has_partition(collection_name: str, partition_name: str, using: str = "default", timeout: Optional[float] = None) -> bool:
    """Whether a collection has a partition."""
    return partition_name in _base(using).native(collection_name).partitions()


def loading_progress(
    collection_name: str, partition_names: Optional[List[str]] = None, using: str = "default", timeout: Optional[float] = None
) -> Dict[str, str]:
    """{"loading_progress": "100%"} once the collection is loaded."""
    base = _base(using)
    base.require(collection_name)
    if base.load_state(collection_name) != LoadState.Loaded:
        raise MilvusException(101, f"collection not loaded[collection={collection_name}]")
    return {"loading_progress": "100%"}


def load_state(
    collection_name: str, partition_names: Optional[List[str]] = None, using: str = "default", timeout: Optional[float] = None
) -> LoadState:
    return _base(using).load_state(collection_name)


def wait_for_loading_complete(
    collection_name: str, partition_names: Optional[List[str]] = None, timeout: Optional[float] = None, using: str = "default"
) -> None:
    """Returns at once: loading has ended when load() returns."""
    _base(using).require(collection_name)


def index_building_progress(
    collection_name: str, index_name: str = "", using: str = "default", timeout: Optional[float] = None
) -> Dict[str, Any]:
    """Rows, and how many of them are indexed."""
    base = _base(using)
    entry = base.find_index(collection_name, index_name)
    if entry is None:
        raise IndexNotExistException(message="Index doesn't exist.")
    return base.index_progress(collection_name, entry)


def wait_for_index_building_complete(
    collection_name: str, index_name: str = "", timeout: Optional[float] = None, using: str = "default"
) -> bool:
    """True at once: an index serves searches as soon as it is there."""
    index_building_progress(collection_name, index_name, using)
    return True


def list_indexes(collection_name: str, using: str = "default", timeout: Optional[float] = None, **kwargs: Any) -> List[str]:
    return [entry["name"] for entry in _base(using).indexes(collection_name, kwargs.get("field_name", ""))]


def create_alias(collection_name: str, alias: str, timeout: Optional[float] = None, using: str = "default") -> None:
    _base(using).create_alias(collection_name, alias)


def drop_alias(alias: str, timeout: Optional[float] = None, using: str = "default") -> None:
    _base(using).drop_alias(alias)


def alter_alias(collection_name: str, alias: str, timeout: Optional[float] = None, using: str = "default") -> None:
    _base(using).alter_alias(collection_name, alias)


def list_aliases(collection_name: str, timeout: Optional[float] = None, using: str = "default") -> List[str]:
    base = _base(using)
    return base.db.aliases(base.require(collection_name))


def flush_all(using: str = "default", timeout: Optional[float] = None, **kwargs: Any) -> None:
    base = _base(using)
    for name in base.names():
        flush(base, name)


def get_server_version(using: str = "default", timeout: Optional[float] = None) -> str:
    _base(using)
    return server_version()


def get_server_type(using: str = "default") -> str:
    _base(using)
    return "vecdb"


def get_query_segment_info(collection_name: str, timeout: Optional[float] = None, using: str = "default") -> List[Any]:
    _base(using).require(collection_name)
    return []


# -- timestamps: 46 bits of milliseconds, 18 of a counter ---------------------------------------------------------


def mkts_from_hybridts(hybridts: int, milliseconds: float = 0.0, delta: Optional[datetime.timedelta] = None) -> int:
    """A Milvus timestamp so many milliseconds after another."""
    milliseconds += delta.total_seconds() * 1000 if delta is not None else 0
    return (int((hybridts >> 18) + milliseconds) << 18) + (hybridts & ((1 << 18) - 1))


def mkts_from_unixtime(epoch: float, milliseconds: float = 0.0, delta: Optional[datetime.timedelta] = None) -> int:
    """A Milvus timestamp from seconds since 1970."""
    milliseconds += delta.total_seconds() * 1000 if delta is not None else 0
    return int(epoch * 1000 + milliseconds) << 18


def mkts_from_datetime(
    d_time: datetime.datetime, milliseconds: float = 0.0, delta: Optional[datetime.timedelta] = None
) -> int:
    """A Milvus timestamp from a datetime."""
    return mkts_from_unixtime(d_time.timestamp(), milliseconds, delta)


def hybridts_to_unixtime(hybridts: int) -> float:
    """The time of a Milvus timestamp as seconds since 1970."""
    return (hybridts >> 18) / 1000.0


def hybridts_to_datetime(hybridts: int, tz: Optional[datetime.timezone] = None) -> datetime.datetime:
    """The time of a Milvus timestamp as a datetime."""
    return datetime.datetime.fromtimestamp(hybridts_to_unixtime(hybridts), tz)


# -- what only a server has ---------------------------------------------------------------------------------------


def _server_only(name: str) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        raise unsupported(name)

    function.__name__ = name
    return function


#: Functions that only a server can have; each raises MilvusException saying so.
SERVER_ONLY = (
    "create_user update_password reset_password delete_user list_usernames list_roles list_user list_users load_balance "
    "do_bulk_insert get_bulk_insert_state list_bulk_insert_tasks create_resource_group update_resource_groups "
    "drop_resource_group describe_resource_group list_resource_groups transfer_node transfer_replica"
).split()
for _name in SERVER_ONLY:
    globals()[_name] = _server_only(_name)
