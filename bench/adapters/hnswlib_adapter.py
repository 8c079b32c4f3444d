"""hnswlib, compiled on this machine with its own flags."""
import os

import numpy as np

from .base import Adapter, Plan, Unsupported, path_in

EFS = [10, 14, 20, 28, 40, 56, 80, 120, 180, 280, 450, 800]


class Hnswlib(Adapter):
    library = "hnswlib"
    features = ("filter", "insert", "delete")

    @classmethod
    def plans(cls, metric, n, dim, effort):
        builds = [{"M": 16, "efConstruction": 200}]
        if effort == "full":
            builds.append({"M": 32, "efConstruction": 400})
        return [Plan("HNSW", b, [{"ef": ef} for ef in EFS]) for b in builds]

    @classmethod
    def version(cls):
        import importlib.metadata
        return importlib.metadata.version("hnswlib")

    def _empty(self):
        import hnswlib
        return hnswlib.Index(space={"l2": "l2", "ip": "ip", "cosine": "cosine"}[self.metric], dim=self.dim)

    def fit(self, base, columns=None):
        self.index_ = self._empty()
        self.index_.init_index(max_elements=len(base), M=self.build["M"],
                               ef_construction=self.build["efConstruction"], random_seed=100)
        self.index_.add_items(base, np.arange(len(base)), num_threads=self.threads)

    def save(self):
        self.index_.save_index(path_in(self.folder, "index.bin"))

    def open(self):
        self.index_ = self._empty()
        self.index_.load_index(os.path.join(self.folder, "index.bin"))

    def set_threads(self, threads):
        self.threads = threads
        self.index_.set_num_threads(threads)
        self.filter = None

    def set_query_arguments(self, ef):
        self.index_.set_ef(ef)

    def set_filter(self, expression, mask):
        self.filter = None
        if mask is not None:
            passes = mask.tolist()
            self.filter = passes.__getitem__
            self.passing = int(mask.sum())

    def query(self, one, k):
        if self.filter:
            try:
                return self.index_.knn_query(one, min(k, self.passing), 1, self.filter)
            except RuntimeError:    # it raises when it found fewer than asked, and gives none of them
                return np.zeros(0, np.int64), np.zeros(0, np.float32)
        return self.index_.knn_query(one, k, 1)

    def batch_query(self, batch, k):
        return self.index_.knn_query(batch, k, self.threads)

    def distance(self, values):
        return values - 1 if self.metric == "ip" else values

    def create(self, durability):
        if durability != "none":
            raise Unsupported("no durability")
        self.index_ = self._empty()
        self.index_.init_index(max_elements=4 << 20, M=16, ef_construction=200, random_seed=100)
        self.filter = None

    def insert(self, ids, vectors):
        self.index_.add_items(vectors, ids, num_threads=self.threads)

    def delete(self, ids):
        for i in ids:
            self.index_.mark_deleted(int(i))
