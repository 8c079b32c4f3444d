"""The RaBitQ library: SymphonyQG, and HNSW and IVF over its codes."""
import os

import numpy as np

from .base import Adapter, Plan, near_power_of_two, path_in, unit_rows

EFS = [10, 14, 20, 28, 40, 56, 80, 120, 180, 280, 450, 800]
NPROBES = [1, 2, 4, 8, 16, 32, 64, 128, 256]


class Rabitqlib(Adapter):
    library = "rabitqlib"

    @classmethod
    def plans(cls, metric, n, dim, effort):
        nlist = max(16, near_power_of_two(n ** 0.5))
        graph = [{"ef": ef} for ef in EFS]
        degrees = [32] if effort != "full" else [32, 64]
        plans = [Plan("SYMQG", {"degree": d, "ef_construction": 400, "bits": 0}, graph) for d in degrees]
        if effort == "full":
            plans.append(Plan("SYMQG", {"degree": 32, "ef_construction": 400, "bits": 8}, graph, lossy=True))
        if effort != "quick":
            plans.append(Plan("HNSW", {"M": 16, "ef_construction": 200, "bits": 7, "clusters": 16}, graph, lossy=True))
            plans.append(Plan("IVF", {"clusters": nlist, "bits": 32},
                              [{"nprobe": p} for p in NPROBES if p <= nlist], lossy=True))
            plans.append(Plan("IVF", {"clusters": nlist, "bits": 7},
                              [{"nprobe": p} for p in NPROBES if p <= nlist], lossy=True))
        return plans

    @classmethod
    def version(cls):
        import importlib.metadata
        return importlib.metadata.version("rabitqlib")

    def _metric(self):
        return "ip" if self.metric == "ip" else "l2"

    def fit(self, base, columns=None):
        import rabitqlib as r
        b = self.build
        if self.metric == "cosine":
            base = unit_rows(base)
        if self.index == "SYMQG":
            self.index_ = r.SymqgIndex(self.dim, b["degree"], self._metric(), b["bits"])
            self.index_.build(base, b["ef_construction"], self.threads)
            return
        clustering = r.RaBitQKMeans if b["clusters"] < 256 else r.QGKMeans
        means = clustering(self.dim, b["clusters"], num_threads=self.threads,
                           final_assignment=r.FinalAssignmentMode.Exact)
        means.train(base)
        if self.index == "HNSW":
            self.index_ = r.HnswIndex(self.dim, len(base), b["M"], b["ef_construction"], b["bits"], self._metric())
        else:
            self.index_ = r.IvfIndex(self.dim, len(base), b["clusters"], b["bits"], self._metric())
        self.index_.build(base, means.centroids, means.assignments, self.threads)

    def save(self):
        self.index_.save(path_in(self.folder, "index.rabitq"))

    def open(self):
        import rabitqlib as r
        kind = {"SYMQG": r.SymqgIndex, "HNSW": r.HnswIndex, "IVF": r.IvfIndex}[self.index]
        self.index_ = kind.load(os.path.join(self.folder, "index.rabitq"))

    def set_query_arguments(self, **params):
        self.level = params.get("ef") or params.get("nprobe")

    def prepare(self, queries):
        if self.metric == "cosine":
            queries = unit_rows(queries)
        return [np.ascontiguousarray(q[None]) for q in queries]

    def prepare_batch(self, queries):
        return unit_rows(queries) if self.metric == "cosine" else np.ascontiguousarray(queries)

    def query(self, one, k):
        return self.index_.search(one, k, max(self.level, k) if self.index != "IVF" else self.level)

    def batch_query(self, batch, k):
        if self.index == "SYMQG":
            return self.index_.search_batch(batch, k, max(self.level, k), num_threads=self.threads)
        level = max(self.level, k) if self.index == "HNSW" else self.level
        return self.index_.search(batch, k, level, num_threads=self.threads)

    def _ids(self, ids):
        ids = np.asarray(ids).astype(np.int64)
        return np.where(ids == 0xFFFFFFFF, -1, ids)

    def unpack(self, raw, k):
        return self._ids(raw[0]).ravel(), self.distance(np.asarray(raw[1]).ravel())

    def unpack_batch(self, raw, k):
        return self._ids(raw[0]), self.distance(np.asarray(raw[1]))

    def distance(self, values):
        if self.metric == "ip":
            return values
        return values / 2 if self.metric == "cosine" else values
