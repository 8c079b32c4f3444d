"""What the harness asks of a library.  One file and one class per library; bench/README.md says how to add one.

The timed calls are query() and batch_query() and nothing else: their inputs are made by prepare() before the
clock starts, and what they return is taken apart by unpack() after it stops.  So query() must return finished
answers, not promises (the harness times unpack() as well and charges whoever does work there).
"""
import os

import numpy as np


class Plan:
    """One index to build, and the search settings that draw its curve."""

    def __init__(self, index, build, searches, **traits):
        self.index, self.build, self.searches = index, build, searches
        self.exact = traits.get("exact", False)     # promises the true nearest neighbours
        self.lossy = traits.get("lossy", False)     # reports distances of codes, not of the vectors


class Unsupported(Exception):
    """The library has no such thing; the message says what."""


class Adapter:
    library = ""
    batched = True          # has an interface that takes many queries
    features = ()           # of: filter range insert delete mixed
    durability = ("none",)  # what insert() can promise: "full" survives power loss, "normal" a crash, "none" neither
    index_s = None          # of fit(), without storing rows, where it does both

    def __init__(self, index, metric, dim, build, folder, threads):
        self.index, self.metric, self.dim = index, metric, dim
        self.build, self.folder, self.threads = dict(build), folder, threads

    @classmethod
    def plans(cls, metric, n, dim, effort):
        """Plans worth running; effort is "quick", "normal" or "full"."""
        raise NotImplementedError

    @classmethod
    def version(cls):
        raise NotImplementedError

    # -- building: rows are numbered 0..n-1, and answers are those numbers

    def fit(self, base, columns=None):
        """Index all rows, with scalar columns for filters if given, until searching is at full speed."""
        raise NotImplementedError

    def save(self):
        """Put it all under self.folder."""

    def open(self):
        """Be ready to search what save() left in self.folder, in a new process."""
        raise NotImplementedError

    def close(self):
        pass

    # -- searching

    def set_threads(self, threads):
        self.threads = threads

    def set_query_arguments(self, **params):
        self.params = params

    def set_filter(self, expression, mask):
        """Answers must pass: expression as in datasets.attributes, mask the same as bools; None takes it off."""
        if expression is not None:
            raise Unsupported("no filtered search")

    def prepare(self, queries):
        """What query() takes, one per row of the float32 queries."""
        return list(np.ascontiguousarray(queries))

    def prepare_batch(self, queries):
        return np.ascontiguousarray(queries)

    def query(self, one, k):
        raise NotImplementedError

    def batch_query(self, batch, k):
        raise NotImplementedError

    def unpack(self, raw, k):
        """(ids, distances) of one query: ids below 0 mean no answer; distances may be None.  Smaller is nearer:
        squared L2, negated inner product, 1 - cosine."""
        ids, distances = raw
        return np.asarray(ids).ravel(), self.distance(np.asarray(distances).ravel())

    def unpack_batch(self, raw, k):
        ids, distances = raw
        return np.asarray(ids), self.distance(np.asarray(distances))

    def distance(self, values):
        """The library's figure to the harness's; for most they are the same."""
        return values

    def range_query(self, one, radius):
        """All rows nearer than radius (in the harness's distance)."""
        raise Unsupported("no range search")

    def unpack_range(self, raw):
        return self.unpack(raw, None)

    def work(self, one, k):
        """What one query costs, {"hops", "rows_scored", "reranked"}, for the ratio to the machine's limit; and where the
        index tells, "reads": the bytes that each of those reads, {"query", "row", "exact", "hop"}."""
        raise Unsupported("it does not count its work")

    # -- living collections

    def create(self, durability):
        """An empty collection under self.folder that insert() fills."""
        raise Unsupported("no insert after the build")

    def insert(self, ids, vectors):
        raise Unsupported("no insert after the build")

    def delete(self, ids):
        raise Unsupported("no delete")

    def optimize(self):
        """Whatever the library offers to make a filled collection fast."""


def path_in(folder, name):
    os.makedirs(folder, exist_ok=True)
    return os.path.join(folder, name)


def unit_rows(rows):
    """Rows of length one, for libraries that know no cosine."""
    rows = np.asarray(rows, np.float32)
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norm, out=np.zeros_like(rows), where=norm > 0)


def near_power_of_two(x):
    return 1 << max(0, round(np.log2(max(1.0, x))))


def padded(hits, k):
    """Lists of (id, distance) of any length to two arrays of k."""
    ids = np.full(k, -1, np.int64)
    distances = np.full(k, np.inf)
    for i, (key, distance) in enumerate(hits[:k]):
        ids[i], distances[i] = key, distance
    return ids, distances
