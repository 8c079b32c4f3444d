"""A database: a directory, or memory, with collections in it."""

from __future__ import annotations

import json
import os
import weakref
from ctypes import byref, c_size_t, c_void_p, sizeof
from typing import Any, Dict, Iterable, List, Optional, Union

from . import _library as c
from ._collection import Collection, durability_code
from ._errors import InvalidError, MisuseError, NotFoundError
from ._handle import Gate, Progress, ProgressLike, Unique, check, failure
from ._schema import Field, Schema

PathLike = Union[str, "os.PathLike[str]"]


def _path_text(path: PathLike) -> bytes:
    raw = os.fspath(path)
    if isinstance(raw, bytes):
        return raw
    if "\0" in raw:
        raise InvalidError(f"path {raw!r} has a NUL character")
    return os.fsencode(raw)


class Database(Unique):
    """An open database. Any method may be called from any thread."""

    def __init__(self, handle: c_void_p, path: Optional[str]) -> None:
        self._path = path
        self._gate = Gate(f"database {path or ':memory:'!r}", handle)
        self._collections: "weakref.WeakSet[Collection]" = weakref.WeakSet()

    @property
    def path(self) -> Optional[str]:
        """The directory, or None for a database in memory."""
        return self._path

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return self._gate.handle is None

    def __repr__(self) -> str:
        return f"<vecdb.Database {self._path or ':memory:'!r}{' (closed)' if self.closed else ''}>"

    def close(self) -> None:
        """Close the database and every collection opened from it. What was written stays; memory is given back."""
        for collection in list(self._collections):
            collection.close()
        handle = self._gate.shut()
        if handle is None:
            return
        status = c.lib.vecdb_close(byref(handle))
        if status < 0:
            self._gate.reopen(handle)
            raise failure(status)

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        try:
            self.close()
        except Exception:  # the interpreter may be half gone
            pass

    # -- collections ---------------------------------------------------------------------------------------------

    def create_collection(
        self,
        name: str,
        fields: Union[Schema, Iterable[Field]],
        *,
        dynamic: Optional[bool] = None,
        description: Optional[str] = None,
        ttl_field: Optional[str] = None,
        num_partitions: int = 0,
        ttl_seconds: int = 0,
    ) -> Collection:
        """Create a collection and open it.

        dynamic=True    keeps keys that are no field too: filters and output_fields may name them like fields
        ttl_field       an INT64 field: seconds since 1970 when a row expires, and is seen no more
        num_partitions  with a partition key: how many partitions it spreads rows over; 0 for 16
        ttl_seconds     how long after they were inserted or upserted rows expire; 0: never. Collection.set_ttl() changes it
        """
        if isinstance(fields, Schema):
            schema = Schema(
                fields.fields,
                dynamic=fields.dynamic if dynamic is None else dynamic,
                description=fields.description if description is None else description,
                ttl_field=ttl_field or fields.ttl_field,
                num_partitions=num_partitions or fields.num_partitions,
                ttl_seconds=ttl_seconds or fields.ttl_seconds,
            )
        else:
            schema = Schema(
                fields,
                dynamic=bool(dynamic),
                description=description or "",
                ttl_field=ttl_field,
                num_partitions=num_partitions,
                ttl_seconds=ttl_seconds,
            )
        struct, keep = schema.to_struct(name)
        out = c_void_p()
        with self._gate as handle:
            check(c.lib.vecdb_collection_create(handle, byref(struct), byref(out)))
        del keep
        return self._opened(out, name)

    def collection(self, name: str) -> Collection:
        """Open a collection by its name or alias."""
        out = c_void_p()
        with self._gate as handle:
            check(c.lib.vecdb_collection_open(handle, c.text(name), byref(out)))
        return self._opened(out, name)

    def _opened(self, handle: c_void_p, name: str) -> Collection:
        collection = Collection(self, handle, name)
        self._collections.add(collection)
        return collection

    def collections(self) -> List[str]:
        """Names of all collections, sorted."""
        names, count = c_void_p(), c_size_t()
        with self._gate as handle:
            check(c.lib.vecdb_collection_list(handle, byref(names), byref(count)))
        return c.take_names(names, count.value)

    def has_collection(self, name: str) -> bool:
        """Whether there is a collection, or an alias, of this name."""
        return name in self.collections() or name in self.aliases()

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.has_collection(name)

    def __getitem__(self, name: str) -> Collection:
        return self.collection(name)

    def drop_collection(self, name: str, *, missing_ok: bool = False) -> None:
        """Delete a collection and its data."""
        try:
            with self._gate as handle:
                check(c.lib.vecdb_collection_drop(handle, c.text(name)))
        except NotFoundError:
            if not missing_ok:
                raise

    def rename_collection(self, name: str, new_name: str) -> None:
        """Give a collection another name. Open handles and aliases go on leading to it."""
        with self._gate as handle:
            check(c.lib.vecdb_collection_rename(handle, c.text(name), c.text(new_name)))

    def set_alias(self, alias: str, collection: str, *, move: bool = False) -> None:
        """Another name for a collection; with move=True an alias that is there already is moved."""
        with self._gate as handle:
            check(c.lib.vecdb_alias_set(handle, c.text(alias), c.text(collection), move))

    def drop_alias(self, alias: str) -> None:
        """Take an alias away; the collection stays."""
        with self._gate as handle:
            check(c.lib.vecdb_alias_drop(handle, c.text(alias)))

    def aliases(self, collection: Optional[str] = None) -> List[str]:
        """Aliases of a collection, or all."""
        names, count = c_void_p(), c_size_t()
        with self._gate as handle:
            check(c.lib.vecdb_alias_list(handle, c.text(collection), byref(names), byref(count)))
        return c.take_names(names, count.value)

    # -- upkeep --------------------------------------------------------------------------------------------------

    def sync(self) -> None:
        """Make everything written so far durable, whatever the durability mode."""
        with self._gate as handle:
            check(c.lib.vecdb_sync(handle))

    def refresh(self) -> None:
        """Read-only databases: go on to what the writing process has published since."""
        with self._gate as handle:
            check(c.lib.vecdb_refresh(handle))

    def stats(self) -> Dict[str, Any]:
        """Facts: path, version, collections, bytes on disk and in memory, what recovery did."""
        out = c_void_p()
        with self._gate as handle:
            check(c.lib.vecdb_db_stats(handle, byref(out)))
            facts: Dict[str, Any] = json.loads(c.take_text(out))
            return facts

    def backup(self, path: PathLike, progress: Optional[ProgressLike] = None) -> None:
        """Write a consistent copy into the new directory `path` while reading and writing go on."""
        with self._gate as handle, Progress(progress) as watcher:
            watcher.check(c.lib.vecdb_backup(handle, _path_text(path), watcher.callback, None))

    def verify(self, progress: Optional[ProgressLike] = None) -> Dict[str, Any]:
        """Check every file against its checksums; see vecdb.verify."""
        if self._path is None:
            raise MisuseError("a database in memory has no files to verify")
        return verify(self._path, progress)


def open(
    path: Optional[PathLike] = None,
    *,
    read_only: bool = False,
    durability: str = "full",
    threads: int = 0,
    memory_limit: int = 0,
    create: bool = True,
    in_heap: bool = False,
    lock_timeout: float = 0,
    fresh_rows: Optional[int] = 0,
) -> Database:
    """Open a database, creating its directory when there is none; without a path it lives in memory.

    read_only     share it with a writing process and other readers
    durability    when a write is acknowledged: "full" survives power loss, "normal" a crash of the process,
                  "none" is durable after sync()
    threads       for searching and building; 0: one per core
    memory_limit  bytes the library may allocate; 0: no limit
    create        False: a directory without a database is an error
    in_heap       read files into memory instead of mapping them
    lock_timeout  seconds to wait for another process to let go
    fresh_rows    rows not in an index yet beside which a search is to find itself at most: inserts wait for the indexes
                  while there are more and others search, a millisecond a row and a second at most; 0: 8192, None:
                  never wait
    """
    options = c.OpenOptions()
    options.size = sizeof(c.OpenOptions)
    options.flags = (
        (c.OPEN_READ_ONLY if read_only else 0) | (0 if create else c.OPEN_NO_CREATE) | (c.OPEN_IN_HEAP if in_heap else 0)
    )
    options.durability = durability_code(durability)
    if fresh_rows is None:
        fresh_rows = 2**32 - 1
    for what, value in (("threads", threads), ("memory_limit", memory_limit), ("fresh_rows", fresh_rows)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise InvalidError(f"{what} is {value!r}; it must be a whole number from 0")
    options.threads = min(threads, 2**32 - 1)
    options.memory_limit = min(memory_limit, 2**64 - 1)
    options.fresh_rows = min(fresh_rows, 2**32 - 1)
    options.lock_timeout_ms = max(0, min(int(lock_timeout * 1000), 2**32 - 1))
    name = None if path is None else os.fspath(path)
    if name == ":memory:":
        name = None
    handle = c_void_p()
    check(c.lib.vecdb_open(None if name is None else _path_text(name), byref(options), byref(handle)))
    return Database(handle, None if name is None else os.fsdecode(name))


def _report(status: int, out: c_void_p, watcher: Progress) -> Dict[str, Any]:
    text = c.take_text(out)
    if status == c.ERR_CORRUPT and text:
        found: Dict[str, Any] = json.loads(text)
        return found
    watcher.check(status)
    return json.loads(text) if text else {}


def verify(path: PathLike, progress: Optional[ProgressLike] = None) -> Dict[str, Any]:
    """Check every file of a database against its checksums and every structure against its rules.

    Returns {"ok": bool, "files": n, "bytes": n, "problems": [{"file", "offset", "what"}]}; raises only when the check
    itself failed.
    """
    out = c_void_p()
    with Progress(progress) as watcher:
        status = c.lib.vecdb_verify(_path_text(path), watcher.callback, None, byref(out))
        return _report(status, out, watcher)


def repair(path: PathLike, progress: Optional[ProgressLike] = None) -> Dict[str, Any]:
    """Save what can be saved of a damaged, closed database; the report says what was dropped."""
    out = c_void_p()
    with Progress(progress) as watcher:
        status = c.lib.vecdb_repair(_path_text(path), watcher.callback, None, byref(out))
        return _report(status, out, watcher)
