"""Milvus Lite through pymilvus, as its users run it."""
import os

import numpy as np

from ..datasets import attributes

from .base import Adapter, Plan, near_power_of_two, padded

BATCH = 5000


class MilvusLite(Adapter):
    library = "milvus-lite"
    features = ("filter", "range", "insert", "delete", "mixed")
    durability = ("normal",)

    @classmethod
    def plans(cls, metric, n, dim, effort):
        nlist = near_power_of_two(n ** 0.5)
        plans = [Plan("HNSW", {"M": 16, "efConstruction": 200}, [{"ef": ef} for ef in (10, 20, 40, 80, 160, 320)])]
        if effort != "quick":
            plans.append(Plan("FLAT", {}, [{}], exact=True))
            plans.append(Plan("IVF_FLAT", {"nlist": nlist}, [{"nprobe": p} for p in (1, 4, 16, 64) if p <= nlist]))
        return plans

    @classmethod
    def version(cls):
        import importlib.metadata
        return "%s (pymilvus %s)" % (importlib.metadata.version("milvus-lite"), importlib.metadata.version("pymilvus"))

    def _connect(self):
        from pymilvus import MilvusClient
        os.makedirs(self.folder, exist_ok=True)
        self.client = MilvusClient(os.path.join(self.folder, "milvus.db"))
        self.filter = ""

    def _create(self, columns):
        from pymilvus import DataType, MilvusClient
        self._connect()
        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("v", DataType.FLOAT_VECTOR, dim=self.dim)
        for name, values in (columns or {}).items():
            if values.dtype.kind in "OU":
                schema.add_field(name, DataType.VARCHAR, max_length=32)
            else:
                schema.add_field(name, DataType.INT32)
        index = self.client.prepare_index_params()
        index.add_index("v", index_type=self.index, metric_type=self._metric(), params=self.build)
        self.client.create_collection("bench", schema=schema, index_params=index)

    def _metric(self):
        return {"l2": "L2", "ip": "IP", "cosine": "COSINE"}[self.metric]

    def _insert(self, ids, rows, columns=None):
        for s in range(0, len(ids), BATCH):
            part = []
            for i, row in zip(ids[s:s + BATCH].tolist(), rows[s:s + BATCH]):
                item = {"id": i, "v": row}
                for k, v in (columns or {}).items():
                    item[k] = str(v[i]) if v.dtype.kind in "OU" else int(v[i])
                part.append(item)
            self.client.insert("bench", part)

    def fit(self, base, columns=None):
        self._create(columns)
        self._insert(np.arange(len(base)), base, columns)
        self.client.flush("bench")
        self.client.load_collection("bench")

    def save(self):
        self.client.close()

    def open(self):
        self._connect()
        self.client.load_collection("bench")

    def close(self):
        if getattr(self, "client", None):
            self.client.close()
            self.client = None

    def set_query_arguments(self, **params):
        self.search_params = {"metric_type": self._metric(), "params": params}

    def set_filter(self, expression, mask):
        self.filter = "" if expression is None else attributes.text(expression)

    def query(self, one, k):
        return self.client.search("bench", [one], anns_field="v", limit=k, filter=self.filter,
                                  search_params=self.search_params)

    def prepare_batch(self, queries):
        return list(np.ascontiguousarray(queries))

    def batch_query(self, batch, k):
        return self.client.search("bench", batch, anns_field="v", limit=k, filter=self.filter,
                                  search_params=self.search_params)

    def distance(self, values):
        return {"l2": values, "ip": -values, "cosine": 1 - values}[self.metric]

    def unpack(self, raw, k):
        hits = [(h["id"], h["distance"]) for h in raw[0]]
        ids, said = padded(hits, k or len(hits))
        return ids, self.distance(said)

    def unpack_batch(self, raw, k):
        both = [padded([(h["id"], h["distance"]) for h in hits], k) for hits in raw]
        return np.stack([b[0] for b in both]), self.distance(np.stack([b[1] for b in both]))

    def range_query(self, one, radius):
        limit = {"l2": radius * (1 + 1e-6), "ip": -radius, "cosine": 1 - radius}[self.metric]
        params = dict(self.search_params, params=dict(self.search_params["params"], radius=limit))
        return self.client.search("bench", [one], anns_field="v", limit=16384, search_params=params)

    def create(self, durability):
        self._create(None)

    def insert(self, ids, vectors):
        self._insert(ids, vectors)

    def delete(self, ids):
        self.client.delete("bench", ids=[int(i) for i in ids])

    def optimize(self):
        self.client.flush("bench")
