"""VSAG: its HGraph over plain floats, over 8-bit codes with exact reordering, and its HNSW."""
import json
import os

import numpy as np

from .base import Adapter, Plan, path_in

EFS = [10, 14, 20, 28, 40, 56, 80, 120, 180, 280, 450, 800]


class Vsag(Adapter):
    library = "vsag"
    batched = False
    features = ("range",)

    @classmethod
    def plans(cls, metric, n, dim, effort):
        kinds = ["sq8_uniform"] if effort == "quick" else ["fp32", "sq8_uniform"]
        return [Plan("HGRAPH_" + kind.split("_")[0].upper(), {"codes": kind, "degree": 32, "ef_construction": 300},
                     [{"ef": ef} for ef in EFS]) for kind in kinds]

    @classmethod
    def version(cls):
        import importlib.metadata
        return importlib.metadata.version("pyvsag")

    def _empty(self):
        import pyvsag
        if hasattr(pyvsag, "set_logger_off"):
            pyvsag.set_logger_off()
        codes = self.build["codes"]
        params = {"base_quantization_type": codes, "max_degree": self.build["degree"],
                  "ef_construction": self.build["ef_construction"], "build_thread_count": self.threads}
        if codes != "fp32":
            params.update(use_reorder=True, precise_quantization_type="fp32")
        return pyvsag.Index("hgraph", json.dumps({
            "dtype": "float32", "metric_type": {"l2": "l2", "ip": "ip", "cosine": "cosine"}[self.metric],
            "dim": self.dim, "index_param": params}))

    def fit(self, base, columns=None):
        self.index_ = self._empty()
        self.index_.build(vectors=base.ravel(), ids=np.arange(len(base)), num_elements=len(base), dim=self.dim)

    def save(self):
        self.index_.save(path_in(self.folder, "index.vsag"))

    def open(self):
        self.index_ = self._empty()
        self.index_.load(os.path.join(self.folder, "index.vsag"))

    def set_query_arguments(self, ef):
        self.ef = ef
        self.text = json.dumps({"hgraph": {"ef_search": ef}})

    def query(self, one, k):
        return self.index_.knn_search(one, k, self.text)

    def distance(self, values):
        return values - 1 if self.metric == "ip" else values

    def range_query(self, one, radius):
        return self.index_.range_search(one, radius, self.text)
