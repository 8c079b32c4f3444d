"""DuckDB with a plain array column: exact search in SQL.  Its HNSW extension is a download, not a package."""
import os

import numpy as np

from ..datasets import attributes

from .base import Adapter, Plan


class Duckdb(Adapter):
    library = "duckdb"
    batched = False
    features = ("filter",)

    @classmethod
    def plans(cls, metric, n, dim, effort):
        return [Plan("FLAT", {}, [{}], exact=True)]

    @classmethod
    def version(cls):
        import duckdb
        return duckdb.__version__

    def _connect(self):
        import duckdb
        os.makedirs(self.folder, exist_ok=True)
        self.db = duckdb.connect(os.path.join(self.folder, "duck.db"))
        self.where = ""

    def fit(self, base, columns=None):
        import pyarrow as pa
        self._connect()
        data = {"id": pa.array(np.arange(len(base))),
                "v": pa.FixedSizeListArray.from_arrays(pa.array(base.ravel()), self.dim)}
        for k, v in (columns or {}).items():
            data[k] = pa.array(v.astype(str).tolist() if v.dtype.kind in "OU" else v)
        rows = pa.table(data)   # found by its name in the query below
        self.db.execute("CREATE TABLE t AS SELECT * REPLACE (v::FLOAT[%d] AS v) FROM rows" % self.dim)
        del rows

    def save(self):
        self.db.close()
        self.db = None

    def open(self):
        self._connect()
        self.db.execute("SET threads = %d" % self.threads)

    def close(self):
        if getattr(self, "db", None):
            self.db.close()
            self.db = None

    def set_threads(self, threads):
        self.threads = threads
        self.db.execute("SET threads = %d" % threads)

    def set_filter(self, expression, mask):
        self.where = "" if expression is None else " WHERE " + attributes.sql(expression)

    def prepare(self, queries):
        return np.asarray(queries).tolist()

    def query(self, one, k):
        function = {"l2": "array_distance", "ip": "array_negative_inner_product",
                    "cosine": "array_cosine_distance"}[self.metric]
        return self.db.execute("SELECT id, %s(v, ?::FLOAT[%d]) AS d FROM t%s ORDER BY d LIMIT %d" % (
            function, self.dim, self.where, k), [one]).fetchall()

    def unpack(self, raw, k):
        ids = np.array([r[0] for r in raw], np.int64)
        said = np.array([r[1] for r in raw], np.float64)
        return ids, said * said if self.metric == "l2" else said
