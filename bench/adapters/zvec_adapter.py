"""zvec: an embedded collection with HNSW over floats, 8-bit codes or RaBitQ, IVF and exact search."""
import os

import numpy as np

from ..datasets import attributes

from .base import Adapter, Plan, near_power_of_two, padded

EFS = [10, 14, 20, 28, 40, 56, 80, 120, 180, 280, 450, 800]
BATCH = 1024        # its limit


class Zvec(Adapter):
    library = "zvec"
    batched = False         # one query a call
    features = ("filter", "range", "insert", "delete", "mixed")
    # flush() is what its documentation calls durable; without it the log is written but not synced
    durability = ("full", "normal")

    @classmethod
    def plans(cls, metric, n, dim, effort):
        graph = [{"ef": ef} for ef in EFS]
        refined = [{"ef": ef, "refine": True} for ef in EFS]
        m = {"m": 16, "ef_construction": 200}
        plans = [Plan("HNSW", {**m, "quantize": None}, graph),
                 Plan("HNSW_INT8", {**m, "quantize": "INT8"}, graph + refined, lossy=True)]
        if effort != "quick":
            plans.append(Plan("FLAT", {}, [{}], exact=True))
            nlist = near_power_of_two(n ** 0.5)
            plans.append(Plan("IVF", {"n_list": nlist}, [{"nprobe": p} for p in (1, 2, 4, 8, 16, 32, 64, 128)
                                                        if p <= nlist]))
            plans.append(Plan("HNSW_RABITQ", {**m, "total_bits": 7}, graph + refined, lossy=True))
        if effort == "full":
            # its own defaults
            plans.append(Plan("HNSW_INT8", {"m": 50, "ef_construction": 500, "quantize": "INT8"}, graph + refined,
                              lossy=True))
        return plans

    @classmethod
    def version(cls):
        import importlib.metadata
        return importlib.metadata.version("zvec")

    def _init(self):
        import zvec
        try:
            zvec.init(log_level=zvec.LogLevel.ERROR, query_threads=self.threads, optimize_threads=self.threads)
        except RuntimeError:
            pass        # once a process

    def _index_param(self):
        import zvec
        metric = {"l2": zvec.MetricType.L2, "ip": zvec.MetricType.IP, "cosine": zvec.MetricType.COSINE}[self.metric]
        b = self.build
        if self.index == "FLAT":
            return zvec.FlatIndexParam(metric_type=metric)
        if self.index == "IVF":
            return zvec.IVFIndexParam(metric_type=metric, n_list=b["n_list"])
        if self.index == "HNSW_RABITQ":
            return zvec.HnswRabitqIndexParam(metric_type=metric, m=b["m"], ef_construction=b["ef_construction"],
                                             total_bits=b["total_bits"])
        extra = {"quantize_type": getattr(zvec.QuantizeType, b["quantize"])} if b["quantize"] else {}
        return zvec.HnswIndexParam(metric_type=metric, m=b["m"], ef_construction=b["ef_construction"], **extra)

    def _create(self, columns):
        import zvec
        self._init()
        fields = []
        for name, values in (columns or {}).items():
            kind = zvec.DataType.STRING if values.dtype.kind in "OU" else zvec.DataType.INT32
            fields.append(zvec.FieldSchema(name, kind, index_param=zvec.InvertIndexParam(
                enable_range_optimization=kind == zvec.DataType.INT32)))
        schema = zvec.CollectionSchema("bench", fields, zvec.VectorSchema(
            "v", zvec.DataType.VECTOR_FP32, self.dim, self._index_param()))
        os.makedirs(self.folder, exist_ok=True)
        self.collection = zvec.create_and_open(self._path(), schema)

    def _path(self):
        return os.path.join(self.folder, "zvec")

    def _insert(self, ids, rows, columns=None):
        import zvec
        for s in range(0, len(ids), BATCH):
            docs = []
            for i, row in zip(ids[s:s + BATCH].tolist(), rows[s:s + BATCH]):
                fields = {k: (str(v[i]) if v.dtype.kind in "OU" else int(v[i])) for k, v in columns.items()} \
                    if columns else None
                docs.append(zvec.Doc(id=str(i), vectors={"v": row}, fields=fields))
            for status in self.collection.insert(docs):
                if not status.ok():
                    raise RuntimeError("insert: %s" % status.message())

    def fit(self, base, columns=None):
        self._create(columns)
        self._insert(np.arange(len(base)), base, columns)
        self.collection.optimize()

    def save(self):
        self.collection.flush()
        self.collection.close()

    def open(self):
        import zvec
        self._init()
        self.collection = zvec.open(self._path())
        self.filter = None

    def close(self):
        if getattr(self, "collection", None):
            self.collection.close()
            self.collection = None

    def set_query_arguments(self, **params):
        import zvec
        self.params = params
        self.param = self._query_param(0.0)

    def _query_param(self, radius):
        import zvec
        refine = self.params.get("refine", False)
        if self.index == "FLAT":
            return None
        if self.index == "IVF":
            return zvec.IVFQueryParam(nprobe=self.params["nprobe"])
        kind = zvec.HnswRabitqQueryParam if self.index == "HNSW_RABITQ" else zvec.HnswQueryParam
        return kind(ef=self.params["ef"], radius=radius, is_using_refiner=refine)

    def set_filter(self, expression, mask):
        self.filter = None if expression is None else _filter_text(expression)

    def query(self, one, k):
        import zvec
        return self.collection.query(zvec.Query(field_name="v", vector=one, param=self.param), topk=k,
                                     filter=self.filter, output_fields=[])

    def unpack(self, raw, k):
        return self._unpack(raw, k or len(raw))

    def _unpack(self, raw, k):
        ids, scores = padded([(int(d.id), d.score) for d in raw], k)
        return ids, -scores if self.metric == "ip" else scores

    def range_query(self, one, radius):
        import zvec
        from .base import Unsupported
        if self.index == "FLAT" or self.index == "IVF":
            raise Unsupported("radius is a parameter of the graphs only")
        limit = {"l2": radius, "ip": -radius, "cosine": radius}[self.metric]
        return self.collection.query(zvec.Query(field_name="v", vector=one, param=self._query_param(limit)),
                                     topk=1024, output_fields=[])

    def create(self, durability):
        self._create(None)
        self.sync, self.filter = durability == "full", None

    def insert(self, ids, vectors):
        self._insert(ids, vectors)
        if self.sync:
            self.collection.flush()

    def delete(self, ids):
        self.collection.delete([str(i) for i in ids])

    def optimize(self):
        self.collection.optimize()


def _filter_text(expression):
    # its SQL knows IN, comparison, AND; its strings take double quotes or single
    return attributes.sql(expression)
