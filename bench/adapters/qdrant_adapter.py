"""Qdrant without its server: the Python client's local mode, and Qdrant Edge."""
import os

import numpy as np

from .base import Adapter, Plan, padded

BATCH = 1000


class QdrantLocal(Adapter):
    library = "qdrant"
    features = ("filter", "insert", "delete")
    durability = ("normal",)

    @classmethod
    def plans(cls, metric, n, dim, effort):
        return [Plan("FLAT", {}, [{}], exact=True)]     # local mode scans everything

    @classmethod
    def version(cls):
        import importlib.metadata
        return importlib.metadata.version("qdrant-client")

    def _connect(self):
        from qdrant_client import QdrantClient
        os.makedirs(self.folder, exist_ok=True)
        self.client = QdrantClient(path=os.path.join(self.folder, "qdrant"))
        self.filter = None

    def _create(self):
        from qdrant_client import models
        self._connect()
        kind = {"l2": models.Distance.EUCLID, "ip": models.Distance.DOT, "cosine": models.Distance.COSINE}
        self.client.create_collection("bench", models.VectorParams(size=self.dim, distance=kind[self.metric]))

    def _insert(self, ids, rows, columns=None):
        from qdrant_client import models
        for s in range(0, len(ids), BATCH):
            part = ids[s:s + BATCH].tolist()
            payloads = [{k: (str(v[i]) if v.dtype.kind in "OU" else int(v[i])) for k, v in columns.items()}
                        for i in part] if columns else None
            self.client.upsert("bench", models.Batch(ids=part, vectors=rows[s:s + BATCH].tolist(), payloads=payloads))

    def fit(self, base, columns=None):
        self._create()
        self._insert(np.arange(len(base)), base, columns)

    def save(self):
        self.client.close()

    def open(self):
        self._connect()

    def close(self):
        if getattr(self, "client", None):
            self.client.close()
            self.client = None

    def set_filter(self, expression, mask):
        from qdrant_client import models
        self.filter = None
        if expression is not None:
            self.filter = models.Filter(must=self._conditions(models, expression))

    def _conditions(self, models, e):
        if e[0] == "and":
            return self._conditions(models, e[1]) + self._conditions(models, e[2])
        if e[0] == "in":
            return [models.FieldCondition(key=e[1], match=models.MatchAny(any=e[2]))]
        name = {"<": "lt", "<=": "lte", ">=": "gte"}[e[0]]
        return [models.FieldCondition(key=e[1], range=models.Range(**{name: e[2]}))]

    def query(self, one, k):
        return self.client.query_points("bench", query=one, limit=k, query_filter=self.filter, with_payload=False)

    def prepare_batch(self, queries):
        return list(np.ascontiguousarray(queries))

    def batch_query(self, batch, k):
        from qdrant_client import models
        return self.client.query_batch_points("bench", [models.QueryRequest(query=q.tolist(), limit=k, filter=self.filter)
                                                        for q in batch])

    def distance(self, values):
        return {"l2": values * values, "ip": -values, "cosine": 1 - values}[self.metric]

    def unpack(self, raw, k):
        ids, said = padded([(p.id, p.score) for p in raw.points], k)
        return ids, self.distance(said)

    def unpack_batch(self, raw, k):
        both = [self.unpack(r, k) for r in raw]
        return np.stack([b[0] for b in both]), np.stack([b[1] for b in both])

    def create(self, durability):
        self._create()

    def insert(self, ids, vectors):
        self._insert(ids, vectors)

    def delete(self, ids):
        from qdrant_client import models
        self.client.delete("bench", models.PointIdsList(points=[int(i) for i in ids]))


class QdrantEdge(Adapter):
    library = "qdrant-edge"
    features = ("filter", "insert", "delete", "mixed")
    durability = ("full", "normal")

    @classmethod
    def plans(cls, metric, n, dim, effort):
        efs = [{"ef": ef} for ef in (10, 20, 40, 80, 160, 320, 640)]
        plans = [Plan("HNSW", {"m": 16, "ef_construct": 200, "quantize": None}, efs)]
        if effort != "quick":
            plans.append(Plan("HNSW_INT8", {"m": 16, "ef_construct": 200, "quantize": "int8"}, efs,
                              lossy=True))
        return plans

    @classmethod
    def version(cls):
        import importlib.metadata
        return importlib.metadata.version("qdrant-edge-py")

    def _path(self):
        return os.path.join(self.folder, "edge")

    def _create(self):
        import qdrant_edge as q
        kind = {"l2": q.Distance.Euclid, "ip": q.Distance.Dot, "cosine": q.Distance.Cosine}[self.metric]
        b = self.build
        quantize = q.ScalarQuantizationConfig(q.ScalarType.Int8) if b["quantize"] else None
        os.makedirs(self._path(), exist_ok=True)
        # thresholds are kilobytes: 10000 is its own default for when a filter leaves so little that it scans;
        # a single segment searches fastest
        self.shard = q.EdgeShard.create(self._path(), q.EdgeConfig(
            vectors=q.EdgeVectorParams(self.dim, kind, quantization_config=quantize),
            hnsw_config=q.HnswIndexConfig(b["m"], b["ef_construct"], 10000, self.threads),
            optimizers=q.EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=1000,
                                              max_segment_size=100000000)))
        self.filter = None

    def _insert(self, ids, rows, columns=None):
        import qdrant_edge as q
        for s in range(0, len(ids), BATCH):
            part = ids[s:s + BATCH].tolist()
            points = []
            for i, row in zip(part, rows[s:s + BATCH].tolist()):
                payload = {k: (str(v[i]) if v.dtype.kind in "OU" else int(v[i])) for k, v in columns.items()} \
                    if columns else None
                points.append(q.Point(i, row, payload))
            self.shard.update(q.UpdateOperation.upsert_points(points))

    def fit(self, base, columns=None):
        import qdrant_edge as q
        self._create()
        for k, v in (columns or {}).items():
            kind = q.PayloadSchemaType.Keyword if v.dtype.kind in "OU" else q.PayloadSchemaType.Integer
            self.shard.update(q.UpdateOperation.create_field_index(k, kind))
        self._insert(np.arange(len(base)), base, columns)
        self.shard.optimize()

    def save(self):
        self.shard.flush()
        self.shard.close()
        self.shard = None

    def open(self):
        import qdrant_edge as q
        self.shard = q.EdgeShard.load(self._path())
        self.filter = None

    def close(self):
        if getattr(self, "shard", None):
            self.shard.close()
            self.shard = None

    def set_query_arguments(self, ef):
        import qdrant_edge as q
        self.search = q.SearchParams(hnsw_ef=ef)

    def set_filter(self, expression, mask):
        import qdrant_edge as q
        self.filter = None if expression is None else q.Filter(must=self._conditions(q, expression))

    def _conditions(self, q, e):
        if e[0] == "and":
            return self._conditions(q, e[1]) + self._conditions(q, e[2])
        if e[0] == "in":
            return [q.FieldCondition(e[1], match=q.MatchAny(e[2]))]
        name = {"<": "lt", "<=": "lte", ">=": "gte"}[e[0]]
        return [q.FieldCondition(e[1], range=q.RangeFloat(**{name: float(e[2])}))]

    def prepare(self, queries):
        return np.asarray(queries).tolist()     # it takes lists

    prepare_batch = prepare

    def _request(self, one, k):
        import qdrant_edge as q
        return q.QueryRequest(k, query=q.Query.Nearest(one), params=self.search, filter=self.filter)

    def query(self, one, k):
        return self.shard.query(self._request(one, k))

    def batch_query(self, batch, k):
        import qdrant_edge as q
        return self.shard.query_batch(q.QueryBatchRequest([self._request(one, k) for one in batch]))

    def distance(self, values):
        return {"l2": values * values, "ip": -values, "cosine": 1 - values}[self.metric]

    def unpack(self, raw, k):
        ids, said = padded([(p.id, p.score) for p in raw], k)
        return ids, self.distance(said)

    def unpack_batch(self, raw, k):
        both = [self.unpack(r, k) for r in raw]
        return np.stack([b[0] for b in both]), np.stack([b[1] for b in both])

    def create(self, durability):
        self._create()
        self.sync = durability == "full"

    def insert(self, ids, vectors):
        self._insert(ids, vectors)
        if self.sync:
            self.shard.flush()

    def delete(self, ids):
        import qdrant_edge as q
        self.shard.update(q.UpdateOperation.delete_points([int(i) for i in ids]))

    def optimize(self):
        self.shard.optimize()
