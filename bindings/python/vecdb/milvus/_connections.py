"""connections: aliases to stores, as pymilvus' ORM has them."""

from __future__ import annotations

import os
import threading
from typing import Any, Dict, List, Optional, Tuple

from . import engine
from .exceptions import (
    DATABASE_NOT_FOUND,
    ConnectionConfigException,
    ConnectionNotExistException,
    ExceptionsMessage,
    MilvusException,
)


class Connection:
    """What an alias leads to: a store, and the database in use."""

    def __init__(self, uri: str, db_name: str, durability: Optional[str] = None) -> None:
        self.uri = uri
        self.store = engine.open_store(uri, durability)
        self.schema_cache: Dict[str, Any] = {}  # frameworks clear it; nothing is ever kept in it
        try:
            self.base = self.store.base(db_name)
        except MilvusException:
            self.store.release()
            raise

    def use(self, db_name: str) -> None:
        self.base = self.store.base(db_name)

    def drop_database(self, db_name: str) -> None:
        self.store.drop(db_name)
        if self.base.name == db_name:
            self.base = self.store.base("")

    def has_collection(self, collection_name: str, **_: Any) -> bool:
        return self.base.has(collection_name)

    def describe_collection(self, collection_name: str, **_: Any) -> Dict[str, Any]:
        return self.base.describe(collection_name)

    def close(self) -> None:
        self.store.release()


class Connections:
    """Aliases, as in pymilvus. Servers' addresses lead to a local directory: see vecdb.milvus.engine.local_path."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._configs: Dict[str, Dict[str, Any]] = {"default": {"address": "localhost:19530", "user": ""}}
        self._open: Dict[str, Connection] = {}

    @staticmethod
    def _check_alias(alias: Any) -> str:
        if not isinstance(alias, str):
            raise ConnectionConfigException(message=ExceptionsMessage.AliasType % type(alias))
        return alias

    @staticmethod
    def _uri(config: Dict[str, Any]) -> Tuple[str, Dict[str, Any]]:
        """Where a configuration leads, and how it is listed."""
        path = config.get("path")
        if path:
            return str(path), {"address": str(path), "user": config.get("user", "")}
        uri = config.get("uri")
        if uri:
            return str(uri), {"address": str(uri), "user": config.get("user", "")}
        address = config.get("address")
        if address:
            return f"http://{address}", {"address": address, "user": config.get("user", "")}
        host, port = config.get("host"), config.get("port")
        if host is None and port is None:
            chosen = os.environ.get("MILVUS_URI") or "http://localhost:19530"
            return chosen, {"address": chosen.replace("http://", ""), "user": config.get("user", "")}
        host = "localhost" if host is None else host
        port = "19530" if port is None else port
        if not isinstance(host, str):
            raise ConnectionConfigException(message=ExceptionsMessage.HostType)
        if not isinstance(port, (str, int)) or isinstance(port, bool):
            raise ConnectionConfigException(message=ExceptionsMessage.PortType)
        return f"http://{host}:{port}", {"address": f"{host}:{port}", "user": config.get("user", "")}

    def add_connection(self, **kwargs: Dict[str, Any]) -> None:
        """Keep how to connect under an alias, for connect(alias)."""
        for alias, config in kwargs.items():
            _, listed = self._uri(config)
            with self._lock:
                if alias in self._open and self._configs.get(alias, {}).get("address") != listed["address"]:
                    raise ConnectionConfigException(message=ExceptionsMessage.ConnDiffConf % alias)
                self._configs[alias] = {**listed, "_given": dict(config)}

    def connect(
        self,
        alias: str = "default",
        user: str = "",
        password: str = "",
        db_name: str = "default",
        token: str = "",
        **kwargs: Any,
    ) -> None:
        """Open a directory under an alias: uri or path, or host and port, which lead to the directory in
        VECDB_MILVUS_PATH.
        """
        self._check_alias(alias)
        with self._lock:
            given = any(kwargs.get(key) for key in ("path", "uri", "address", "host", "port"))
            if not given and alias in self._configs and "_given" in self._configs[alias]:
                config = dict(self._configs[alias]["_given"])
            elif not given and alias != "default" and alias not in self._configs:
                raise ConnectionConfigException(message=ExceptionsMessage.ConnLackConf % alias)
            else:
                config = dict(kwargs)
            uri, listed = self._uri(config)
            existing = self._open.get(alias)
            if existing is not None:
                if given and self._configs.get(alias, {}).get("address") != listed["address"]:
                    raise ConnectionConfigException(message=ExceptionsMessage.ConnDiffConf % alias)
                existing.use(db_name or config.get("db_name", ""))
                return
            self._open[alias] = Connection(uri, db_name or config.get("db_name", ""), config.get("durability"))
            self._configs[alias] = {**listed, "_given": config}

    def add(self, alias: str, uri: str, db_name: str = "", durability: Optional[str] = None) -> Connection:
        """A client's own connection."""
        with self._lock:
            connection = Connection(uri, db_name, durability)
            old = self._open.get(alias)
            self._open[alias] = connection
            self._configs[alias] = {"address": uri, "user": "", "_given": {"uri": uri, "db_name": db_name}}
        if old is not None:
            old.close()
        return connection

    def disconnect(self, alias: str) -> None:
        """Close an alias' connection; connect() opens it again."""
        self._check_alias(alias)
        with self._lock:
            connection = self._open.pop(alias, None)
        if connection is not None:
            connection.close()

    def remove_connection(self, alias: str) -> None:
        """Close an alias' connection and forget it."""
        self.disconnect(alias)
        with self._lock:
            self._configs.pop(alias, None)

    async def async_disconnect(self, alias: str) -> None:
        """disconnect(), awaited."""
        self.disconnect(alias)

    async def async_remove_connection(self, alias: str) -> None:
        """remove_connection(), awaited."""
        self.remove_connection(alias)

    def list_connections(self) -> List[Tuple[str, Optional[Any]]]:
        """[(alias, connection or None)]."""
        return [(alias, self._open.get(alias)) for alias in self._configs]

    def get_connection_addr(self, alias: str) -> Dict[str, Any]:
        """Where an alias leads."""
        self._check_alias(alias)
        return {key: value for key, value in self._configs.get(alias, {}).items() if key != "_given"}

    def has_connection(self, alias: str) -> bool:
        """Whether an alias is connected."""
        self._check_alias(alias)
        return alias in self._open

    def fetch(self, alias: str) -> Connection:
        """The open connection of an alias."""
        self._check_alias(alias)
        connection = self._open.get(alias)
        if connection is None:
            raise ConnectionNotExistException(message=ExceptionsMessage.ConnectFirst)
        return connection

    _fetch_handler = fetch


connections = Connections()

__all__ = ["Connection", "Connections", "DATABASE_NOT_FOUND", "connections"]
