"""NGT: the graph ANNG, refined towards ONNG by its own optimizer."""
import os

import numpy as np

from .base import Adapter, Plan, padded


class Ngt(Adapter):
    library = "ngt"
    batched = False

    @classmethod
    def plans(cls, metric, n, dim, effort):
        searches = [{"epsilon": e} for e in (-0.1, -0.05, 0.0, 0.02, 0.05, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25)]
        plans = [Plan("ANNG", {"edges": 20, "refine": False}, searches)]
        if effort == "full":      # its optimizer takes minutes for ten thousand rows
            plans.append(Plan("ONNG", {"edges": 100, "refine": True}, searches))
        return plans

    @classmethod
    def version(cls):
        import importlib.metadata
        return importlib.metadata.version("ngt")

    def fit(self, base, columns=None):
        import ngtpy
        os.makedirs(self.folder, exist_ok=True)
        kind = {"l2": "L2", "ip": "Inner product", "cosine": "Cosine"}[self.metric]
        plain = os.path.join(self.folder, "anng")
        ngtpy.create(plain, self.dim, edge_size_for_creation=self.build["edges"], edge_size_for_search=-2,
                     distance_type=kind, object_type="Float")
        index = ngtpy.Index(plain)
        index.batch_insert(base, num_threads=self.threads)
        index.save()
        index.close()
        if self.build["refine"]:
            optimizer = ngtpy.Optimizer(log_disabled=True)
            optimizer.set(num_of_outgoings=10, num_of_incomings=120, num_of_queries=100)
            optimizer.execute(plain, os.path.join(self.folder, "onng"))
            import shutil
            shutil.rmtree(plain)

    def open(self):
        import ngtpy
        name = "onng" if self.build["refine"] else "anng"
        self.index_ = ngtpy.Index(os.path.join(self.folder, name), read_only=True, zero_based_numbering=True,
                                  log_disabled=True)

    def set_query_arguments(self, epsilon):
        self.epsilon = epsilon

    def query(self, one, k):
        return self.index_.search(one, k, self.epsilon)

    def unpack(self, raw, k):
        ids, distances = padded(list(raw), k)
        return ids, self.distance(distances)

    def distance(self, values):
        return values * values if self.metric == "l2" else values
