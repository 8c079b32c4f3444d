"""LanceDB: a columnar table with its inverted-list and graph indexes."""
import os

import numpy as np

from ..datasets import attributes

from .base import Adapter, Plan, near_power_of_two


class Lancedb(Adapter):
    library = "lancedb"
    batched = False
    features = ("filter", "range", "insert", "delete", "mixed")
    durability = ("normal",)

    @classmethod
    def plans(cls, metric, n, dim, effort):
        parts = max(1, n // 50000)
        nlist = near_power_of_two(n ** 0.5)
        graph = [{"nprobes": min(p, parts), "ef": ef, "refine": r} for p in (20,) for ef in (20, 50, 100, 300)
                 for r in (None, 5)]
        plans = [Plan("IVF_HNSW_SQ", {"partitions": parts, "M": 16, "ef_construction": 200}, graph, lossy=True)]
        if effort != "quick":
            plans.append(Plan("IVF_PQ", {"partitions": nlist, "sub_vectors": dim // 8},
                              [{"nprobes": p, "refine": r} for p in (1, 4, 16, 64) if p <= nlist for r in (5, 20)],
                              lossy=True))
            plans.append(Plan("FLAT", {}, [{}], exact=True))
        return plans

    @classmethod
    def version(cls):
        import importlib.metadata
        return importlib.metadata.version("lancedb")

    def _connect(self):
        import lancedb
        os.makedirs(self.folder, exist_ok=True)
        self.db = lancedb.connect(os.path.join(self.folder, "lance"))
        self.filter = None

    def _table(self, ids, rows, columns=None):
        import pyarrow as pa
        data = {"id": pa.array(ids.astype(np.int64)),
                "vector": pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(rows, np.float32).ravel()),
                                                            self.dim)}
        for k, v in (columns or {}).items():
            data[k] = pa.array(v[ids].astype(str).tolist() if v.dtype.kind in "OU" else v[ids].astype(np.int32))
        return pa.table(data)

    def fit(self, base, columns=None):
        self._connect()
        self.table = self.db.create_table("bench", self._table(np.arange(len(base)), base, columns))
        self._index(len(base))
        for k, v in (columns or {}).items():
            self.table.create_scalar_index(k, index_type="BITMAP" if v.dtype.kind in "OU" else "BTREE")
        self.table.optimize()

    def _metric(self):
        return {"l2": "l2", "ip": "dot", "cosine": "cosine"}[self.metric]

    def _index(self, n):
        b = self.build
        if self.index == "IVF_HNSW_SQ":
            self.table.create_index(metric=self._metric(), vector_column_name="vector", index_type="IVF_HNSW_SQ",
                                    num_partitions=b["partitions"], m=b["M"], ef_construction=b["ef_construction"])
        elif self.index == "IVF_PQ":
            self.table.create_index(metric=self._metric(), vector_column_name="vector", index_type="IVF_PQ",
                                    num_partitions=b["partitions"], num_sub_vectors=b["sub_vectors"])

    def open(self):
        self._connect()
        self.table = self.db.open_table("bench")

    def set_filter(self, expression, mask):
        self.filter = None if expression is None else attributes.sql(expression)

    def _ask(self, one, k):
        q = self.table.search(one, vector_column_name="vector").distance_type(self._metric()).limit(k)
        p = self.params
        if "nprobes" in p:
            q = q.nprobes(p["nprobes"])
        if p.get("ef"):
            q = q.ef(max(p["ef"], k * (p.get("refine") or 1)))     # less is an error
        if p.get("refine"):
            q = q.refine_factor(p["refine"])
        if self.filter:
            q = q.where(self.filter, prefilter=True)
        return q.select(["id", "_distance"])

    def query(self, one, k):
        return self._ask(one, k).to_arrow()

    def unpack(self, raw, k):
        return raw["id"].to_numpy(), self.distance(raw["_distance"].to_numpy())

    def distance(self, values):
        return values - 1 if self.metric == "ip" else values

    def range_query(self, one, radius):
        limit = radius + 1 if self.metric == "ip" else radius
        upper = float(np.nextafter(np.float32(limit), np.float32(np.inf)))
        return self._ask(one, 16384).distance_range(upper_bound=upper).to_arrow()

    def create(self, durability):
        self._connect()
        self.table = None
        self.params = {}

    def insert(self, ids, vectors):
        import pyarrow as pa
        n = len(ids)
        rows = pa.table({"id": pa.array(ids.astype(np.int64)),
                         "vector": pa.FixedSizeListArray.from_arrays(
                             pa.array(np.ascontiguousarray(vectors, np.float32).ravel()), self.dim)})
        if self.table is None:
            self.table = self.db.create_table("bench", rows)
        elif n:
            self.table.add(rows)

    def delete(self, ids):
        self.table.delete("id IN (%s)" % ", ".join(map(str, ids)))

    def optimize(self):
        if self.index != "FLAT" and self.table.count_rows() >= 256:
            self._index(self.table.count_rows())
        self.table.optimize()
