"""sqlite-vec: exact search in a virtual table."""
import os
import threading

import numpy as np

from ..datasets import attributes

from .base import Adapter, Plan, Unsupported, padded

SYNCHRONOUS = {"full": "FULL", "normal": "NORMAL", "none": "OFF"}


class SqliteVec(Adapter):
    library = "sqlite-vec"
    batched = False
    features = ("filter", "insert", "delete", "mixed")
    durability = ("full", "normal", "none")

    @classmethod
    def plans(cls, metric, n, dim, effort):
        return [] if metric == "ip" else [Plan("FLAT", {}, [{}], exact=True)]

    @classmethod
    def version(cls):
        import importlib.metadata

        import apsw
        return "%s (SQLite %s)" % (importlib.metadata.version("sqlite-vec"), apsw.sqlite_lib_version())

    def _connect(self, synchronous="NORMAL"):
        import apsw
        import sqlite_vec
        os.makedirs(self.folder, exist_ok=True)
        db = apsw.Connection(os.path.join(self.folder, "vec.sqlite"))
        db.enable_load_extension(True)
        db.load_extension(sqlite_vec.loadable_path())
        db.set_busy_timeout(10000)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = " + synchronous)
        return db

    def _create(self, columns, synchronous):
        self.db = self._connect(synchronous)
        extra = "".join(", %s %s" % (k, "TEXT" if v.dtype.kind in "OU" else "INTEGER")
                        for k, v in (columns or {}).items())
        self.db.execute("CREATE VIRTUAL TABLE t USING vec0(id INTEGER PRIMARY KEY, v float[%d] distance_metric=%s%s)"
                        % (self.dim, "cosine" if self.metric == "cosine" else "l2", extra))
        self._reset()

    def _reset(self):
        self.local = threading.local()
        self.where = ""

    def _insert(self, ids, rows, columns=None):
        cols = list((columns or {}).items())
        text = "INSERT INTO t(id, v%s) VALUES (?, ?%s)" % ("".join(", " + k for k, _ in cols), ", ?" * len(cols))
        with self.db:
            self.db.executemany(text, ((i, row.tobytes(), *[
                str(v[i]) if v.dtype.kind in "OU" else int(v[i]) for _, v in cols])
                for i, row in zip(ids.tolist(), np.ascontiguousarray(rows, np.float32))))

    def fit(self, base, columns=None):
        self._create(columns, "NORMAL")
        for s in range(0, len(base), 10000):
            self._insert(np.arange(s, min(s + 10000, len(base))), base[s:s + 10000], columns)

    def save(self):
        self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.db.close()
        self.db = None

    def open(self):
        self.db = self._connect()
        self._reset()

    def close(self):
        if getattr(self, "db", None):
            self.db.close()
            self.db = None

    def set_filter(self, expression, mask):
        self.where = "" if expression is None else " AND " + attributes.sql(expression)

    def prepare(self, queries):
        return [row.tobytes() for row in np.ascontiguousarray(queries, np.float32)]

    def _mine(self):
        """A connection per thread, as SQLite wants it."""
        db = getattr(self.local, "db", None)
        if db is None:
            db = self.local.db = self._connect()
        return db

    def query(self, one, k):
        return self._mine().execute("SELECT id, distance FROM t WHERE v MATCH ? AND k = %d%s" % (k, self.where),
                                    (one,)).fetchall()

    def unpack(self, raw, k):
        ids, said = padded(raw, k)
        return ids, said if self.metric == "cosine" else said * said

    def create(self, durability):
        self._create(None, SYNCHRONOUS[durability])

    def insert(self, ids, vectors):
        self._insert(ids, vectors)

    def delete(self, ids):
        with self.db:
            self.db.executemany("DELETE FROM t WHERE id = ?", [(int(i),) for i in ids])
