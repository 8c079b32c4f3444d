"""Spotify's Annoy: a forest in a file that is mapped."""
import os

import numpy as np

from .base import Adapter, Plan, path_in


class Annoy(Adapter):
    library = "annoy"
    batched = False

    @classmethod
    def plans(cls, metric, n, dim, effort):
        trees = 100
        return [Plan("TREES", {"trees": trees}, [{"search_k": s} for s in
                                                 (500, 1000, 2000, 4000, 8000, 16000, 32000, 64000, 128000)])]

    @classmethod
    def version(cls):
        import importlib.metadata
        return importlib.metadata.version("annoy")

    def _empty(self):
        import annoy
        return annoy.AnnoyIndex(self.dim, {"l2": "euclidean", "ip": "dot", "cosine": "angular"}[self.metric])

    def fit(self, base, columns=None):
        self.index_ = self._empty()
        self.index_.set_seed(1)
        for i, row in enumerate(base):
            self.index_.add_item(i, row)
        self.index_.build(self.build["trees"], n_jobs=self.threads)

    def save(self):
        self.index_.save(path_in(self.folder, "index.ann"))

    def open(self):
        self.index_ = self._empty()
        self.index_.load(os.path.join(self.folder, "index.ann"))

    def set_query_arguments(self, search_k):
        self.search_k = search_k

    def query(self, one, k):
        return self.index_.get_nns_by_vector(one, k, self.search_k, include_distances=True)

    def distance(self, values):
        if self.metric == "ip":
            return -values
        return values * values / (2 if self.metric == "cosine" else 1)

    def unpack(self, raw, k):
        return np.array(raw[0], np.int64), self.distance(np.array(raw[1], np.float64))
