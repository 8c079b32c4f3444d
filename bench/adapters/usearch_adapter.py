"""USearch with 32-, 16- and 8-bit numbers."""
import os

import numpy as np

from .base import Adapter, Plan, Unsupported, path_in

EFS = [10, 14, 20, 28, 40, 56, 80, 120, 180, 280, 450, 800]


class Usearch(Adapter):
    library = "usearch"
    features = ("insert", "delete", "mixed")

    @classmethod
    def plans(cls, metric, n, dim, effort):
        kinds = ["f32"] if effort == "quick" else ["f32", "f16", "i8"]
        return [Plan("HNSW_" + kind.upper(), {"dtype": kind, "connectivity": 16, "expansion_add": 200},
                     [{"expansion_search": ef} for ef in EFS], lossy=kind != "f32") for kind in kinds]

    @classmethod
    def version(cls):
        import usearch
        return usearch.__version__

    def _empty(self):
        from usearch.index import Index
        return Index(ndim=self.dim, metric={"l2": "l2sq", "ip": "ip", "cosine": "cos"}[self.metric],
                     dtype=self.build["dtype"], connectivity=self.build["connectivity"],
                     expansion_add=self.build["expansion_add"])

    def _cast(self, rows):
        # its i8 takes whole numbers as they are: shifting bytes to -128..127 changes no L2 distance
        if self.shift:
            return (np.asarray(rows) - 128).astype(np.int8)
        return np.ascontiguousarray(rows)

    def fit(self, base, columns=None):
        self.shift = self.build["dtype"] == "i8" and self.metric == "l2" and base.min() >= 0 and base.max() <= 255 \
            and bool((base[:1000] == np.rint(base[:1000])).all())
        self.index_ = self._empty()
        self.index_.add(np.arange(len(base), dtype=np.uint64), self._cast(base), threads=self.threads)

    def save(self):
        self.index_.save(path_in(self.folder, "index.usearch"))
        with open(path_in(self.folder, "shift"), "w") as f:
            f.write("1" if self.shift else "")

    def open(self):
        self.index_ = self._empty()
        self.index_.load(os.path.join(self.folder, "index.usearch"))
        with open(os.path.join(self.folder, "shift")) as f:
            self.shift = bool(f.read())

    def set_query_arguments(self, expansion_search):
        self.index_.expansion_search = expansion_search

    def prepare(self, queries):
        return list(self._cast(queries))

    def prepare_batch(self, queries):
        return self._cast(queries)

    def query(self, one, k):
        return self.index_.search(one, k, threads=1)

    def batch_query(self, batch, k):
        return self.index_.search(batch, k, threads=self.threads)

    def unpack(self, raw, k):
        return np.asarray(raw.keys).astype(np.int64), self.distance(np.asarray(raw.distances))

    def unpack_batch(self, raw, k):
        keys, distances, counts = raw.keys, raw.distances, raw.counts
        missing = np.arange(keys.shape[1])[None] >= np.asarray(counts)[:, None]
        return np.where(missing, -1, keys.astype(np.int64)), self.distance(distances)

    def distance(self, values):
        return values - 1 if self.metric == "ip" else values

    def create(self, durability):
        if durability != "none":
            raise Unsupported("no durability")
        self.shift = False
        self.index_ = self._empty()

    def insert(self, ids, vectors):
        self.index_.add(ids.astype(np.uint64), vectors, threads=self.threads)

    def delete(self, ids):
        self.index_.remove(ids.astype(np.uint64), threads=self.threads)
