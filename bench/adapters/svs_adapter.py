"""Intel's SVS: Vamana over plain floats, over LVQ codes, and over LeanVec."""
import os

import numpy as np

from .base import Adapter, Plan, unit_rows

WINDOWS = [10, 14, 20, 28, 40, 56, 80, 120, 180, 280, 450, 800]
KINDS = {"LVQ8": (8, 0), "LVQ4x8": (4, 8), "LVQ4x4": (4, 4)}


class Svs(Adapter):
    library = "svs"

    @classmethod
    def plans(cls, metric, n, dim, effort):
        kinds = ["LVQ4x8"] if effort == "quick" else ["F32", "LVQ8", "LVQ4x8"]
        if effort == "full" and dim >= 256:
            kinds.append("LEANVEC")
        return [Plan("VAMANA_" + kind, {"storage": kind, "degree": 64 if dim > 500 else 32, "window": 200},
                     [{"window": w} for w in WINDOWS], lossy=kind != "F32") for kind in kinds]

    @classmethod
    def version(cls):
        import svs
        return svs.library_version()

    def _distance_type(self):
        import svs
        return svs.DistanceType.MIP if self.metric == "ip" else svs.DistanceType.L2

    def fit(self, base, columns=None):
        import svs
        b = self.build
        if self.metric == "cosine":
            base = unit_rows(base)
        os.makedirs(self.folder, exist_ok=True)
        raw = os.path.join(self.folder, "raw.fvecs")
        if b["storage"] == "F32":
            loader = base
        else:
            # codes are made from a file; it is taken away after the build
            svs.write_vecs(base, raw)
            data = svs.VectorDataLoader(raw, svs.DataType.float32, dims=self.dim)
            if b["storage"] == "LEANVEC":
                loader = svs.LeanVecLoader(data, leanvec_dims=self.dim // 2, primary_kind=svs.LeanVecKind.lvq8,
                                           secondary_kind=svs.LeanVecKind.lvq8)
            else:
                primary, residual = KINDS[b["storage"]]
                loader = svs.LVQLoader(data, primary=primary, residual=residual, padding=32)
        params = svs.VamanaBuildParameters(graph_max_degree=b["degree"], window_size=b["window"],
                                           alpha=0.95 if self.metric == "ip" else 1.2)
        self.index_ = svs.Vamana.build(params, loader, self._distance_type(), num_threads=self.threads)
        if os.path.exists(raw):
            os.remove(raw)

    def _parts(self):
        return [os.path.join(self.folder, p) for p in ("config", "graph", "data")]

    def save(self):
        self.index_.save(*self._parts())

    def open(self):
        import svs
        config, graph, data = self._parts()
        kind = self.build["storage"]
        if kind == "F32":
            loader = svs.VectorDataLoader(data, svs.DataType.float32)
        elif kind == "LEANVEC":
            loader = svs.LeanVecLoader(data)
        else:
            loader = svs.LVQLoader(data, padding=32)
        self.index_ = svs.Vamana(config, svs.GraphLoader(graph), loader, self._distance_type(),
                                 num_threads=self.threads)

    def set_threads(self, threads):
        self.threads = threads
        self.index_.num_threads = threads

    def set_query_arguments(self, window):
        self.index_.search_window_size = window

    def prepare(self, queries):
        if self.metric == "cosine":
            queries = unit_rows(queries)
        return [np.ascontiguousarray(q[None]) for q in queries]

    def prepare_batch(self, queries):
        return unit_rows(queries) if self.metric == "cosine" else np.ascontiguousarray(queries)

    def query(self, one, k):
        return self.index_.search(one, k)

    batch_query = query

    def unpack(self, raw, k):
        return raw[0].astype(np.int64).ravel(), self.distance(raw[1].ravel())

    def unpack_batch(self, raw, k):
        return raw[0].astype(np.int64), self.distance(raw[1])

    def distance(self, values):
        if self.metric == "ip":
            return -values
        return values / 2 if self.metric == "cosine" else values
