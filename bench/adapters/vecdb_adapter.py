"""vecdb itself: a collection on disk, closed and opened again before it is searched."""
import os
import time

import numpy as np

from ..datasets import attributes

from .base import Adapter, Plan, near_power_of_two

EFS = [10, 14, 20, 28, 40, 56, 80, 120, 180, 280, 450, 800]
NPROBES = [1, 2, 4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 128, 256]
# an adaptive stop, with ef as the cap: its own curve beside that of ef
GAMMAS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)
GAMMA_CAP = 2000
# below what the smallest ef there is, k, brings
RECALLS = [{"recall": r} for r in (0.9, 0.93, 0.95)]
BATCH = 20000


class Vecdb(Adapter):
    library = "vecdb"
    features = ("filter", "range", "insert", "delete", "mixed")
    durability = ("full", "normal", "none")

    @classmethod
    def plans(cls, metric, n, dim, effort):
        nlist = max(16, near_power_of_two(n ** 0.5))
        graph = [{"ef": ef} for ef in EFS]
        plans = [Plan("FLAT", {}, [{}], exact=True),
                 Plan("HNSW", {"M": 16, "efConstruction": 200}, graph + _gammas("ef") + RECALLS)]
        for lists in (nlist, 4 * nlist)[:2 if effort == "full" else 1]:     # as faiss' are
            probes = [{"nprobe": p} for p in NPROBES if p <= lists]
            plans.append(Plan("IVF_FLAT", {"nlist": lists}, probes))
            plans.append(Plan("IVF_RABITQ", {"nlist": lists}, probes))
            if effort != "quick":
                plans.append(Plan("IVF_SQ8", {"nlist": lists}, probes))
                plans.append(Plan("IVF_PQ", {"nlist": lists, "m": _subspaces(dim), "nbits": 4}, probes))
        if effort != "quick":
            plans.append(Plan("NSG", {}, [{"search_length": ef} for ef in EFS] + _gammas("search_length") + RECALLS))
        if effort == "full":
            plans.append(Plan("HNSW", {"M": 32, "efConstruction": 400}, graph))
            plans.append(Plan("ANNOY", {}, [{"search_k": s} for s in (500, 2000, 8000, 32000)]))
        for p in plans:
            # codes are rescored, but how far is a parameter: what it says of distances is held to the looser bound
            p.lossy = p.index not in ("FLAT", "HNSW", "IVF_FLAT", "NSG")
        return plans

    @classmethod
    def version(cls):
        import hashlib

        import vecdb
        from vecdb import _library
        # one version has many builds while it is worked on: the library's own bytes tell them apart
        with open(_library.lib._name, "rb") as f:
            digest = hashlib.blake2b(f.read(), digest_size=4).hexdigest()
        return "%s (library %s)" % (vecdb.__version__, digest)

    def _path(self):
        return os.path.join(self.folder, "vecdb")

    def _metric(self):
        return {"l2": "L2", "ip": "IP", "cosine": "COSINE"}[self.metric]

    def _create(self, columns, **options):
        import vecdb
        os.makedirs(self.folder, exist_ok=True)
        fields = [vecdb.Field("id", "INT64", primary_key=True)]
        for name, values in (columns or {}).items():
            if values.dtype.kind in "OU":
                fields.append(vecdb.Field(name, "VARCHAR", max_length=32))
            else:
                fields.append(vecdb.Field(name, "INT32"))
        fields.append(vecdb.Field("v", "FLOAT_VECTOR", dim=self.dim))
        self.db = vecdb.open(self._path(), threads=self.threads, **options)
        self.collection = self.db.create_collection("bench", fields)
        self.options = {}
        self.params = {}

    def _insert(self, ids, rows, columns=None):
        for s in range(0, len(ids), BATCH):
            part = {"id": ids[s:s + BATCH], "v": rows[s:s + BATCH]}
            for name, values in (columns or {}).items():
                chosen = values[ids[s:s + BATCH]]
                part[name] = chosen.astype(str).tolist() if values.dtype.kind in "OU" else chosen.astype(np.int32)
            self.collection.insert(part)

    def _index(self):
        self.collection.create_index("v", self.index, metric_type=self._metric(), **self.build)

    def fit(self, base, columns=None):
        self._create(columns, durability="none")
        self._insert(np.arange(len(base)), base, columns)
        start = time.perf_counter()
        self._index()       # rows go to their file meanwhile
        self.collection.optimize()
        self.index_s = time.perf_counter() - start

    def save(self):
        self.collection.flush()
        self.close()

    def open(self):
        import vecdb
        self.db = vecdb.open(self._path(), threads=self.threads)
        self.collection = self.db.collection("bench")
        self.collection.load()
        self.options, self.params = {}, {}

    def close(self):
        if getattr(self, "db", None):
            self.db.close()
            self.db = None

    def set_query_arguments(self, **params):
        self.params = params
        self.options = {**self.options, **params} if self.options.get("filter") else dict(params)

    def set_filter(self, expression, mask):
        self.options = dict(self.params)
        if expression is not None:
            self.options["filter"] = attributes.text(expression)

    def query(self, one, k):
        return self.collection.search(one, k, **self.options)

    batch_query = query

    def _score(self, raw):
        return np.asarray(raw.distances)

    def distance(self, values):
        return {"l2": values, "ip": -values, "cosine": 1 - values}[self.metric]

    def unpack(self, raw, k):
        ids = np.asarray(raw.ids).reshape(-1)
        return ids, self.distance(np.asarray(raw.distances).reshape(-1))

    def unpack_batch(self, raw, k):
        ids, said = np.asarray(raw.ids), np.asarray(raw.distances)
        if ids.shape[1] < k:        # as wide as the longest answer
            pad = ((0, 0), (0, k - ids.shape[1]))
            ids, said = np.pad(ids, pad, constant_values=-1), np.pad(said, pad, constant_values=np.nan)
        return ids, self.distance(said)

    def range_query(self, one, radius):
        # nearer than, as Milvus has it: one step further lets the border in
        limit = {"l2": radius, "ip": -radius, "cosine": 1 - radius}[self.metric]
        away = np.inf if self.metric == "l2" else -np.inf
        limit = float(np.nextafter(np.float32(limit), np.float32(away)))
        # ef bounds how many hits there can be, so the graph is left to choose it
        options = {k: v for k, v in self.options.items() if k not in ("ef", "gamma")}
        return self.collection.search(one, 16384, radius=limit, **options)

    def unpack_range(self, raw):
        ids = np.asarray(raw.ids).reshape(-1)
        keep = ids >= 0
        return ids[keep], self.distance(np.asarray(raw.distances).reshape(-1)[keep])

    def work(self, one, k):
        told = self.collection.explain(one, k, **self.options)
        out = {name: told[name] for name in ("hops", "rows_scored", "reranked")}
        parts = [(s["rows"], s["reads"]) for s in told["segments_detail"] if "reads" in s]
        if parts:
            # centroids are read in every segment; the rest is that of most rows
            out["reads"] = dict(max(parts, key=lambda p: p[0])[1], query=sum(r["query"] for _, r in parts))
        return out

    def create(self, durability):
        self._create(None, durability=durability)
        self._index()

    def insert(self, ids, vectors):
        self._insert(ids, vectors)

    def delete(self, ids):
        self.collection.delete(ids=ids)

    def optimize(self):
        self.collection.optimize()


def _gammas(effort):
    return [{effort: GAMMA_CAP, "gamma": g} for g in GAMMAS]


def _subspaces(dim):
    """4-bit subspaces of two dimensions, of four from 256 dimensions on, as faiss' are here; they divide the dimension."""
    for m in (dim // 2,) * (dim < 256) + (dim // 4, dim // 8):
        if m > 0 and dim % m == 0:
            return m
    return 1
