"""Spotify's Voyager, with 32-bit and 8-bit floats."""
import os

import numpy as np

from .base import Adapter, Plan, path_in

EFS = [10, 14, 20, 28, 40, 56, 80, 120, 180, 280, 450, 800]


class Voyager(Adapter):
    library = "voyager"

    @classmethod
    def plans(cls, metric, n, dim, effort):
        plans = [Plan("HNSW_F32", {"storage": "Float32", "M": 16, "ef_construction": 200}, [{"ef": e} for e in EFS])]
        # its 8-bit kinds hold numbers of -1..1
        if effort == "full" and metric == "cosine":
            plans.append(Plan("HNSW_E4M3", {"storage": "E4M3", "M": 16, "ef_construction": 200},
                              [{"ef": e} for e in EFS], lossy=True))
        return plans

    @classmethod
    def version(cls):
        import importlib.metadata
        return importlib.metadata.version("voyager")

    def fit(self, base, columns=None):
        import voyager
        space = {"l2": voyager.Space.Euclidean, "ip": voyager.Space.InnerProduct, "cosine": voyager.Space.Cosine}
        kind = getattr(voyager.StorageDataType, self.build["storage"])
        self.index_ = voyager.Index(space[self.metric], num_dimensions=self.dim, M=self.build["M"],
                                    ef_construction=self.build["ef_construction"], max_elements=len(base),
                                    storage_data_type=kind)
        # without ids it numbers rows as its threads get to them
        self.index_.add_items(base, list(range(len(base))), num_threads=self.threads)

    def save(self):
        self.index_.save(path_in(self.folder, "index.voy"))

    def open(self):
        import voyager
        self.index_ = voyager.Index.load(os.path.join(self.folder, "index.voy"))

    def set_query_arguments(self, ef):
        self.ef = ef

    def query(self, one, k):
        return self.index_.query(one, k, query_ef=max(self.ef, k))

    def batch_query(self, batch, k):
        return self.index_.query(batch, k, num_threads=self.threads, query_ef=max(self.ef, k))

    def _ids(self, ids):
        return np.asarray(ids).astype(np.int64)

    def unpack(self, raw, k):
        return self._ids(raw[0]).ravel(), self.distance(np.asarray(raw[1]).ravel())

    def unpack_batch(self, raw, k):
        return self._ids(raw[0]), self.distance(np.asarray(raw[1]))

    def distance(self, values):
        return values - 1 if self.metric == "ip" else values
