"""NumPy and its OpenBLAS: exact search as anybody would write it; the bar that FLAT is held to."""
import os

import numpy as np

from .base import Adapter, Plan, path_in, unit_rows


class Numpy(Adapter):
    library = "numpy"

    @classmethod
    def plans(cls, metric, n, dim, effort):
        return [Plan("FLAT", {}, [{}], exact=True)]

    @classmethod
    def version(cls):
        return np.__version__

    def fit(self, base, columns=None):
        self.base = unit_rows(base) if self.metric == "cosine" else base

    def save(self):
        np.save(path_in(self.folder, "base.npy"), self.base)

    def open(self):
        self.base = np.load(os.path.join(self.folder, "base.npy"))
        self.norms = np.einsum("ij,ij->i", self.base, self.base)

    def query(self, one, k):
        return self.batch_query(one[None], k)

    def batch_query(self, batch, k):
        ids = np.empty((len(batch), k), np.int64)
        distances = np.empty((len(batch), k), np.float32)
        for s in range(0, len(batch), 256):
            q = batch[s:s + 256]
            g = q @ self.base.T
            if self.metric == "l2":
                g *= -2
                g += self.norms
                g += np.einsum("ij,ij->i", q, q)[:, None]
            elif self.metric == "ip":
                np.negative(g, out=g)
            else:
                g /= np.linalg.norm(q, axis=1)[:, None]
                np.subtract(1, g, out=g)
            part = np.argpartition(g, k - 1, axis=1)[:, :k]
            near = np.take_along_axis(g, part, 1)
            order = np.argsort(near, axis=1)
            ids[s:s + 256] = np.take_along_axis(part, order, 1)
            distances[s:s + 256] = np.take_along_axis(near, order, 1)
        return ids, distances
