"""db: databases over the connection of an alias."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from ._connections import connections


def using_database(db_name: str, using: str = "default") -> None:
    connections.fetch(using).use(db_name)


def create_database(db_name: str, using: str = "default", timeout: Optional[float] = None, **kwargs: Any) -> None:
    connections.fetch(using).store.create(db_name, kwargs.get("properties"))


def drop_database(db_name: str, using: str = "default", timeout: Optional[float] = None) -> None:
    connections.fetch(using).drop_database(db_name)


def list_database(using: str = "default", timeout: Optional[float] = None) -> List[str]:
    return connections.fetch(using).store.names()


def set_properties(db_name: str, properties: Dict[str, Any], using: str = "default", timeout: Optional[float] = None) -> None:
    connections.fetch(using).store.base(db_name).alter(properties)


def describe_database(db_name: str, using: str = "default", timeout: Optional[float] = None) -> Dict[str, Any]:
    base = connections.fetch(using).store.base(db_name)
    return {"name": base.name, **base.meta["properties"]}
