"""vecdb for the ann-benchmarks runner: copy this folder to ann_benchmarks/algorithms/vecdb of that project.

The class has the interface that runner asks for; without the runner it works by itself:

    from bench.ann_benchmarks.module import VecDB
    index = VecDB("euclidean", "HNSW", {"M": 16, "efConstruction": 200})
    index.fit(X); index.set_query_arguments(64); index.query(v, 10)
"""
import numpy as np

try:
    from ..base.module import BaseANN
except ImportError:     # not inside that project
    class BaseANN:
        """What the runner's base class gives: an empty end and one answer at a time for batches."""

        def done(self):
            pass

        def get_memory_usage(self):
            with open("/proc/self/status") as f:
                for line in f:
                    if line.startswith("VmRSS:"):
                        return int(line.split()[1])
            return None

        def get_additional(self):
            return {}

METRICS = {"euclidean": "L2", "angular": "COSINE", "dot": "IP"}
# the one parameter that the runner sweeps, by kind of index
SEARCH = {"HNSW": "ef", "NSG": "ef", "ANNOY": "search_k"}
ROWS_AT_ONCE = 20000


class VecDB(BaseANN):
    def __init__(self, metric, index="HNSW", params=None):
        if metric not in METRICS:
            raise NotImplementedError("vecdb: metric %s (known: %s)" % (metric, " ".join(METRICS)))
        self._metric, self._index, self._params = METRICS[metric], index, dict(params or {})
        self._search, self._db, self._batch = {}, None, None
        self.name = str(self)

    def fit(self, X):
        import vecdb
        X = np.ascontiguousarray(X, dtype=np.float32)
        self._db = vecdb.open()
        self._collection = self._db.create_collection("ann", [
            vecdb.Field("id", "INT64", primary_key=True),
            vecdb.Field("v", "FLOAT_VECTOR", dim=X.shape[1]),
        ])
        for s in range(0, len(X), ROWS_AT_ONCE):
            part = X[s:s + ROWS_AT_ONCE]
            self._collection.insert({"id": np.arange(s, s + len(part)), "v": part})
        self._collection.create_index("v", self._index, metric_type=self._metric, **self._params)
        self._collection.optimize()
        self._collection.load()

    def set_query_arguments(self, value=None, **more):
        self._search = dict(more)
        if value is not None and self._index != "FLAT":
            self._search[SEARCH.get(self._index, "nprobe")] = int(value)
        self.name = str(self)

    def query(self, v, n):
        return self._collection.search(np.asarray(v, dtype=np.float32), n, **self._search).ids[0]

    def batch_query(self, X, n):
        self._batch = self._collection.search(np.ascontiguousarray(X, dtype=np.float32), n, **self._search)

    def get_batch_results(self):
        return self._batch.ids

    def done(self):
        if self._db is not None:
            self._db.close()
            self._db = None

    def __str__(self):
        pairs = ["%s=%s" % kv for kv in {**self._params, **self._search}.items()]
        return "vecdb(%s)" % ", ".join([self._index, self._metric, *pairs])
