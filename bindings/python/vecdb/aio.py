"""vecdb for asyncio: the same methods, each awaited, each run in a thread.

    async with await vecdb.aio.open("films.vecdb") as db:
        films = await db.collection("films")
        result = await films.search(query, limit=10)

The C library works without the GIL, so searches of several tasks run at the same time.
"""

from __future__ import annotations

import asyncio
import functools
from concurrent.futures import Executor
from typing import Any, AsyncIterator, Callable, Dict, Iterable, List, Optional, TypeVar, Union

from . import _database
from ._collection import Collection, QueryIterator, SearchIterator
from ._database import Database, PathLike
from ._handle import ProgressLike
from ._result import Hits, Result
from ._schema import Field, Schema

T = TypeVar("T")


async def _run(executor: Optional[Executor], function: Callable[..., T], *args: Any, **options: Any) -> T:
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(executor, functools.partial(function, *args, **options))


class AsyncCollection:
    """A Collection for asyncio. `sync` is the collection itself."""

    def __init__(self, collection: Collection, executor: Optional[Executor] = None) -> None:
        self.sync = collection
        self._executor = executor

    def __repr__(self) -> str:
        return f"<vecdb.aio.AsyncCollection {self.sync.name!r}>"

    @property
    def name(self) -> str:
        """Collection.name."""
        return self.sync.name

    @property
    def schema(self) -> Schema:
        """Collection.schema."""
        return self.sync.schema

    async def __aenter__(self) -> "AsyncCollection":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _do(self, function: Callable[..., T], *args: Any, **options: Any) -> T:
        return await _run(self._executor, function, *args, **options)

    async def close(self) -> None:
        """Collection.close, awaited."""
        await self._do(self.sync.close)

    async def insert(self, data: Any, **options: Any) -> Any:
        """Collection.insert, awaited."""
        return await self._do(self.sync.insert, data, **options)

    async def upsert(self, data: Any, **options: Any) -> Any:
        """Collection.upsert, awaited."""
        return await self._do(self.sync.upsert, data, **options)

    async def delete(self, ids: Any = None, **options: Any) -> int:
        """Collection.delete, awaited."""
        return await self._do(self.sync.delete, ids, **options)

    async def truncate(self) -> None:
        """Collection.truncate, awaited."""
        await self._do(self.sync.truncate)

    async def add_field(self, field: Field) -> None:
        """Collection.add_field, awaited."""
        await self._do(self.sync.add_field, field)

    async def set_ttl(self, seconds: int) -> None:
        """Collection.set_ttl, awaited."""
        await self._do(self.sync.set_ttl, seconds)

    async def search(self, queries: Any, limit: int = 10, **options: Any) -> Result:
        """Collection.search, awaited."""
        return await self._do(self.sync.search, queries, limit, **options)

    async def hybrid_search(self, searches: Any, limit: int = 10, **options: Any) -> Result:
        """Collection.hybrid_search, awaited."""
        return await self._do(self.sync.hybrid_search, searches, limit, **options)

    async def explain(self, queries: Any = None, limit: int = 10, **options: Any) -> Dict[str, Any]:
        """Collection.explain, awaited."""
        return await self._do(self.sync.explain, queries, limit, **options)

    async def get(self, ids: Any, output_fields: Any = None, **options: Any) -> Any:
        """Collection.get, awaited."""
        return await self._do(self.sync.get, ids, output_fields, **options)

    async def query(self, filter: Optional[str] = None, output_fields: Any = None, **options: Any) -> Any:
        """Collection.query, awaited."""
        return await self._do(self.sync.query, filter, output_fields, **options)

    async def count(self, filter: Optional[str] = None, **options: Any) -> int:
        """Collection.count, awaited."""
        return await self._do(self.sync.count, filter, **options)

    async def search_iterator(self, query: Any, batch_size: int = 1000, **options: Any) -> AsyncIterator[Hits]:
        """Collection.search_iterator for `async for`."""
        pages: SearchIterator = await self._do(self.sync.search_iterator, query, batch_size, **options)
        with pages:
            while True:
                page = await self._do(next, pages, None)
                if page is None:
                    return
                yield page

    async def query_iterator(
        self, filter: Optional[str] = None, output_fields: Any = None, batch_size: int = 1000, **options: Any
    ) -> AsyncIterator[Any]:
        """Collection.query_iterator for `async for`."""
        pages: QueryIterator = await self._do(self.sync.query_iterator, filter, output_fields, batch_size, **options)
        with pages:
            while True:
                page = await self._do(next, pages, None)
                if page is None:
                    return
                yield page

    async def create_index(self, field: str, type: Optional[str] = None, **options: Any) -> None:
        """Collection.create_index, awaited."""
        await self._do(self.sync.create_index, field, type, **options)

    async def field_stats(self, field: str, **options: Any) -> Dict[str, Any]:
        """Collection.field_stats, awaited."""
        return await self._do(self.sync.field_stats, field, **options)

    async def drop_index(self, name: str) -> None:
        """Collection.drop_index, awaited."""
        await self._do(self.sync.drop_index, name)

    async def indexes(self) -> List[Dict[str, Any]]:
        """Collection.indexes, awaited."""
        return await self._do(self.sync.indexes)

    async def create_partition(self, name: str) -> None:
        """Collection.create_partition, awaited."""
        await self._do(self.sync.create_partition, name)

    async def drop_partition(self, name: str) -> None:
        """Collection.drop_partition, awaited."""
        await self._do(self.sync.drop_partition, name)

    async def partitions(self) -> List[str]:
        """Collection.partitions, awaited."""
        return await self._do(self.sync.partitions)

    async def flush(self) -> None:
        """Collection.flush, awaited."""
        await self._do(self.sync.flush)

    async def optimize(self, progress: Optional[ProgressLike] = None) -> None:
        """Collection.optimize, awaited."""
        await self._do(self.sync.optimize, progress)

    async def load(self, progress: Optional[ProgressLike] = None) -> None:
        """Collection.load, awaited."""
        await self._do(self.sync.load, progress)

    async def release(self) -> None:
        """Collection.release, awaited."""
        await self._do(self.sync.release)

    async def stats(self) -> Dict[str, Any]:
        """Collection.stats, awaited."""
        return await self._do(self.sync.stats)


class AsyncDatabase:
    """A Database for asyncio. `sync` is the database itself."""

    def __init__(self, database: Database, executor: Optional[Executor] = None) -> None:
        self.sync = database
        self._executor = executor

    def __repr__(self) -> str:
        return f"<vecdb.aio.AsyncDatabase {self.sync.path or ':memory:'!r}>"

    async def __aenter__(self) -> "AsyncDatabase":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _do(self, function: Callable[..., T], *args: Any, **options: Any) -> T:
        return await _run(self._executor, function, *args, **options)

    async def close(self) -> None:
        """Database.close, awaited."""
        await self._do(self.sync.close)

    async def create_collection(
        self, name: str, fields: Union[Schema, Iterable[Field]], **options: Any
    ) -> AsyncCollection:
        """Database.create_collection, awaited."""
        return AsyncCollection(await self._do(self.sync.create_collection, name, fields, **options), self._executor)

    async def collection(self, name: str) -> AsyncCollection:
        """Database.collection, awaited."""
        return AsyncCollection(await self._do(self.sync.collection, name), self._executor)

    async def collections(self) -> List[str]:
        """Database.collections, awaited."""
        return await self._do(self.sync.collections)

    async def has_collection(self, name: str) -> bool:
        """Database.has_collection, awaited."""
        return await self._do(self.sync.has_collection, name)

    async def drop_collection(self, name: str, *, missing_ok: bool = False) -> None:
        """Database.drop_collection, awaited."""
        await self._do(self.sync.drop_collection, name, missing_ok=missing_ok)

    async def rename_collection(self, name: str, new_name: str) -> None:
        """Database.rename_collection, awaited."""
        await self._do(self.sync.rename_collection, name, new_name)

    async def set_alias(self, alias: str, collection: str, *, move: bool = False) -> None:
        """Database.set_alias, awaited."""
        await self._do(self.sync.set_alias, alias, collection, move=move)

    async def drop_alias(self, alias: str) -> None:
        """Database.drop_alias, awaited."""
        await self._do(self.sync.drop_alias, alias)

    async def aliases(self, collection: Optional[str] = None) -> List[str]:
        """Database.aliases, awaited."""
        return await self._do(self.sync.aliases, collection)

    async def sync_to_disk(self) -> None:
        """Database.sync, awaited. (`sync` is the database itself.)"""
        await self._do(self.sync.sync)

    async def stats(self) -> Dict[str, Any]:
        """Database.stats, awaited."""
        return await self._do(self.sync.stats)

    async def backup(self, path: PathLike, progress: Optional[ProgressLike] = None) -> None:
        """Database.backup, awaited."""
        await self._do(self.sync.backup, path, progress)


async def open(
    path: Optional[PathLike] = None, *, executor: Optional[Executor] = None, **options: Any
) -> AsyncDatabase:
    """vecdb.open() for asyncio; `executor` runs the calls, the loop's own by default."""
    return AsyncDatabase(await _run(executor, _database.open, path, **options), executor)


__all__ = ["AsyncCollection", "AsyncDatabase", "open"]
