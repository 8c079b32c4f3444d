"""Google's ScaNN: a partition tree, 4-bit anisotropic codes, exact reordering."""
import os

import numpy as np

from .base import Adapter, Plan, near_power_of_two, unit_rows


class Scann(Adapter):
    library = "scann"

    @classmethod
    def plans(cls, metric, n, dim, effort):
        leaves = max(16, 2 * near_power_of_two(n ** 0.5))
        searches = [{"leaves": p, "reorder": r} for p in (2, 4, 8, 16, 32, 64, 128, 256) if p <= leaves
                    for r in ((30, 100, 300) if effort != "quick" else (100,))]
        return [Plan("TREE_AH", {"leaves": leaves, "block": 2, "threshold": 0.2}, searches)]

    @classmethod
    def version(cls):
        import importlib.metadata
        return importlib.metadata.version("scann")

    def fit(self, base, columns=None):
        import scann
        b = self.build
        if self.metric == "cosine":
            base = unit_rows(base)
        kind = "squared_l2" if self.metric == "l2" else "dot_product"
        builder = scann.scann_ops_pybind.builder(base, 10, kind).set_n_training_threads(self.threads)
        builder = builder.tree(num_leaves=b["leaves"], num_leaves_to_search=8,
                               training_sample_size=min(len(base), 250000))
        builder = builder.score_ah(b["block"], anisotropic_quantization_threshold=b["threshold"])
        self.index_ = builder.reorder(100).build()

    def save(self):
        os.makedirs(self.folder, exist_ok=True)
        self.index_.serialize(self.folder)

    def open(self):
        import scann
        self.index_ = scann.scann_ops_pybind.load_searcher(self.folder)

    def set_threads(self, threads):
        self.threads = threads
        self.index_.set_num_threads(threads)

    def set_query_arguments(self, leaves, reorder):
        self.leaves, self.reorder = leaves, reorder

    def prepare(self, queries):
        return list(self.prepare_batch(queries))

    def prepare_batch(self, queries):
        return unit_rows(queries) if self.metric == "cosine" else np.ascontiguousarray(queries)

    def query(self, one, k):
        return self.index_.search(one, final_num_neighbors=k, pre_reorder_num_neighbors=self.reorder,
                                  leaves_to_search=self.leaves)

    def batch_query(self, batch, k):
        if self.threads > 1:
            return self.index_.search_batched_parallel(batch, k, self.reorder, self.leaves)
        return self.index_.search_batched(batch, k, self.reorder, self.leaves)

    def unpack(self, raw, k):
        ids, distances = raw
        return np.asarray(ids).astype(np.int64), self.distance(np.asarray(distances))

    def unpack_batch(self, raw, k):
        ids, distances = raw
        distances = np.asarray(distances)
        # short answers are filled up with row 0 and a distance that is no number
        return np.where(np.isnan(distances), -1, np.asarray(ids).astype(np.int64)), self.distance(distances)

    def distance(self, values):
        if self.metric == "ip":
            return -values
        return 1 - values if self.metric == "cosine" else values
