"""Faiss: exact, inverted lists with every code it is known for, and its graphs.

Cosine is L2 over rows of length one, as its own documentation advises.
"""
import os

import numpy as np

from .base import Adapter, Plan, Unsupported, near_power_of_two, path_in, unit_rows

NPROBES = [1, 2, 4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 128, 256]
EFS = [10, 14, 20, 28, 40, 56, 80, 120, 180, 280, 450, 800]


class Faiss(Adapter):
    library = "faiss"
    features = ("filter", "range", "insert")

    @classmethod
    def plans(cls, metric, n, dim, effort):
        nlist = max(16, near_power_of_two(n ** 0.5))
        lists = [nlist]
        if effort == "full":
            lists.append(4 * nlist)
        pq = dim // 4 if dim >= 256 else dim // 2
        # FastScan packs 4-bit codes in pairs, and the dimension must be a multiple of M
        while pq > 1 and (dim % pq or pq % 2):
            pq -= 1
        graph = [{"ef": ef} for ef in EFS]
        plans = [Plan("FLAT", {"factory": "Flat"}, [{}], exact=True)]
        for m in ([32] if effort != "full" else [16, 32]):
            plans.append(Plan("HNSW", {"factory": "HNSW%d,Flat" % m, "efConstruction": 200}, graph))
        for lst in lists:
            probes = [{"nprobe": p} for p in NPROBES if p <= lst]
            refined = [{"nprobe": p, "k_factor": f} for p in NPROBES if p <= lst for f in (4, 16, 64)]
            plans.append(Plan("IVF_FLAT", {"factory": "IVF%d,Flat" % lst}, probes))
            plans.append(Plan("IVF_PQFS", {"factory": "IVF%d,PQ%dx4fs,RFlat" % (lst, pq)}, refined))
            if effort != "quick":
                plans.append(Plan("IVF_SQ8", {"factory": "IVF%d,SQ8" % lst}, probes, lossy=True))
                plans.append(Plan("IVF_SQ8R", {"factory": "IVF%d,SQ8,RFlat" % lst}, [dict(p, k_factor=2) for p in probes]))
                plans.append(Plan("IVF_RABITQ", {"factory": "IVF%d,RaBitQfs,RFlat" % lst}, refined))
        if effort != "quick":
            plans.append(Plan("HNSW_SQ8", {"factory": "HNSW32,SQ8,RFlat", "efConstruction": 200},
                              [{"ef": ef, "k_factor": 4} for ef in EFS]))
            plans.append(Plan("NSG", {"factory": "NSG32,Flat"}, graph))
        if metric == "ip":
            plans = [p for p in plans if p.index != "NSG"]
        return plans

    @classmethod
    def version(cls):
        import faiss
        return "%s (%s)" % (faiss.__version__, faiss.get_compile_options().strip())

    def fit(self, base, columns=None):
        import faiss
        faiss.omp_set_num_threads(self.threads)
        if self.metric == "cosine":
            base = unit_rows(base)
        metric = faiss.METRIC_INNER_PRODUCT if self.metric == "ip" else faiss.METRIC_L2
        index = faiss.index_factory(self.dim, self.build["factory"], metric)
        inner = faiss.downcast_index(index.base_index) if self.build["factory"].endswith("RFlat") else index
        if "efConstruction" in self.build:
            inner.hnsw.efConstruction = self.build["efConstruction"]
        index.train(base)
        index.add(base)
        self.index_ = index

    def save(self):
        import faiss
        faiss.write_index(self.index_, path_in(self.folder, "index.faiss"))

    def open(self):
        import faiss
        self.index_ = faiss.read_index(os.path.join(self.folder, "index.faiss"))
        self.inner = self.index_
        self.refine = isinstance(self.index_, faiss.IndexRefine)
        if self.refine:
            self.inner = faiss.downcast_index(self.index_.base_index)
        self.selector = None
        self.params = {}

    def set_threads(self, threads):
        import faiss
        self.threads = threads
        faiss.omp_set_num_threads(threads)

    def set_query_arguments(self, **params):
        self.params = params
        if "nprobe" in params:
            self.inner.nprobe = params["nprobe"]
        if "ef" in params:
            graph = self.inner.nsg if hasattr(self.inner, "nsg") else self.inner.hnsw
            if hasattr(graph, "search_L"):
                graph.search_L = params["ef"]
            else:
                graph.efSearch = params["ef"]
        if self.refine:
            self.index_.k_factor = params.get("k_factor", 1)

    def set_filter(self, expression, mask):
        import faiss
        self.selector = None
        if mask is None:
            return
        self.bits = np.packbits(mask, bitorder="little")
        sel = faiss.IDSelectorBitmap(self.bits)
        kind = type(self.inner).__name__
        if self.refine or "NSG" in kind:
            raise Unsupported("no filter on %s" % self.build["factory"])
        if "IVF" in kind:
            self.selector = faiss.SearchParametersIVF(sel=sel, nprobe=self.params["nprobe"])
        elif "HNSW" in kind:
            self.selector = faiss.SearchParametersHNSW(sel=sel, efSearch=self.params["ef"])
        else:
            self.selector = faiss.SearchParameters(sel=sel)

    def prepare(self, queries):
        if self.metric == "cosine":
            queries = unit_rows(queries)
        return [np.ascontiguousarray(q[None]) for q in queries]

    def prepare_batch(self, queries):
        return unit_rows(queries) if self.metric == "cosine" else np.ascontiguousarray(queries)

    def query(self, one, k):
        if self.selector is not None:
            return self.index_.search(one, k, params=self.selector)
        return self.index_.search(one, k)

    batch_query = query

    def unpack(self, raw, k):
        distances, ids = raw
        return ids.ravel(), self.distance(distances.ravel())

    def unpack_batch(self, raw, k):
        distances, ids = raw
        return ids, self.distance(distances)

    def distance(self, values):
        if self.metric == "ip":
            return -values
        return values / 2 if self.metric == "cosine" else values

    def range_query(self, one, radius):
        if not ("IVF" in self.build["factory"] or self.build["factory"] == "Flat" or "HNSW" in self.build["factory"]) \
                or self.refine:
            raise Unsupported("no range search on %s" % self.build["factory"])
        limit = {"l2": radius, "ip": -radius, "cosine": 2 * radius}[self.metric]
        # its test is "less than", ours "at most"
        limit = np.nextafter(np.float32(limit), np.float32(np.inf if self.metric != "ip" else -np.inf))
        return self.index_.range_search(one, float(limit))

    def unpack_range(self, raw):
        _, distances, ids = raw
        return ids, self.distance(distances)

    def create(self, durability):
        import faiss
        if durability != "none":
            raise Unsupported("no durability")
        if self.index != "HNSW":
            raise Unsupported("insert is measured on HNSW")
        metric = faiss.METRIC_INNER_PRODUCT if self.metric == "ip" else faiss.METRIC_L2
        self.index_ = self.inner = faiss.index_factory(self.dim, self.build["factory"], metric)
        self.index_.hnsw.efConstruction = self.build["efConstruction"]
        self.refine, self.selector, self.params = False, None, {}
        faiss.omp_set_num_threads(self.threads)

    def insert(self, ids, vectors):
        self.index_.add(unit_rows(vectors) if self.metric == "cosine" else vectors)
