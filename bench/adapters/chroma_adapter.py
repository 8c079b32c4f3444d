"""Chroma, persistent and local."""
import os

import numpy as np

from .base import Adapter, Plan, padded

BATCH = 5000


class Chroma(Adapter):
    library = "chroma"
    features = ("filter", "insert", "delete", "mixed")
    durability = ("normal",)

    @classmethod
    def plans(cls, metric, n, dim, effort):
        # its ef cannot be changed after the collection was made: one build draws one point
        efs = (20, 100) if effort == "quick" else (10, 20, 50, 100, 200)
        return [Plan("HNSW", {"M": 16, "efConstruction": 200, "ef": ef}, [{}]) for ef in efs]

    @classmethod
    def version(cls):
        import importlib.metadata
        return importlib.metadata.version("chromadb")

    def _connect(self):
        import chromadb
        from chromadb.config import Settings
        os.makedirs(self.folder, exist_ok=True)
        self.client = chromadb.PersistentClient(os.path.join(self.folder, "chroma"),
                                                settings=Settings(anonymized_telemetry=False))
        self.filter = None

    def _create(self):
        self._connect()
        self.collection = self.client.create_collection("bench", embedding_function=None, configuration={"hnsw": {
            "space": self.metric, "max_neighbors": self.build["M"], "ef_construction": self.build["efConstruction"],
            "ef_search": self.build["ef"], "num_threads": self.threads}})

    def _insert(self, ids, rows, columns=None):
        for s in range(0, len(ids), BATCH):
            part = ids[s:s + BATCH].tolist()
            meta = [{k: (str(v[i]) if v.dtype.kind in "OU" else int(v[i])) for k, v in columns.items()}
                    for i in part] if columns else None
            self.collection.add(ids=[str(i) for i in part], embeddings=rows[s:s + BATCH], metadatas=meta)

    def fit(self, base, columns=None):
        self._create()
        self._insert(np.arange(len(base)), base, columns)
        # the graph is brought up to the log by the first question
        self.collection.query(query_embeddings=base[:1], n_results=1, include=[])

    def open(self):
        self._connect()
        self.collection = self.client.get_collection("bench", embedding_function=None)

    def set_query_arguments(self):
        pass

    def set_filter(self, expression, mask):
        self.filter = None if expression is None else self._where(expression)

    def _where(self, e):
        if e[0] == "and":
            return {"$and": [self._where(e[1]), self._where(e[2])]}
        op = {"<": "$lt", "<=": "$lte", ">=": "$gte", "in": "$in", "not in": "$nin"}[e[0]]
        return {e[1]: {op: e[2]}}

    def query(self, one, k):
        return self.collection.query(query_embeddings=[one], n_results=k, where=self.filter, include=["distances"])

    def prepare_batch(self, queries):
        return np.ascontiguousarray(queries)

    def batch_query(self, batch, k):
        return self.collection.query(query_embeddings=batch, n_results=k, where=self.filter, include=["distances"])

    def distance(self, values):
        return values - 1 if self.metric == "ip" else values

    def _one(self, raw, r, k):
        ids, said = padded(list(zip(map(int, raw["ids"][r]), raw["distances"][r])), k)
        return ids, self.distance(said)

    def unpack(self, raw, k):
        return self._one(raw, 0, k)

    def unpack_batch(self, raw, k):
        both = [self._one(raw, r, k) for r in range(len(raw["ids"]))]
        return np.stack([b[0] for b in both]), np.stack([b[1] for b in both])

    def create(self, durability):
        self._create()

    def insert(self, ids, vectors):
        self._insert(ids, vectors)

    def delete(self, ids):
        self.collection.delete(ids=[str(i) for i in ids])
