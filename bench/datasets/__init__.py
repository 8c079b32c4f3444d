"""Data sets by name or by file, with ground truth computed once and kept in bench/data.

  fashion-mnist   60,000 x 784 bytes, L2 (Debian package dataset-fashion-mnist)
  hog1m           1,000,000 x 128 bytes, L2 (made from the same images: hog.py)
  text256         up to 250,000 x 256 unit-length floats, COSINE (made from this machine's manuals: text.py)
  text768         up to 100,000 x 768 of the same kind
  NAME@ROWS       the first ROWS of any of them
  PATH            .hdf5 (ann-benchmarks), .fvecs .bvecs .fbin .u8bin .i8bin .npy; with PATH,QUERY_PATH[,METRIC]
                  queries from another file, otherwise the last hundredth of the rows, taken out of the base
"""
import hashlib
import os
import shutil
import sys

import numpy as np

from . import attributes, exact, hog, text, vecio
from .vecio import BadFile

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.environ.get("VECDB_BENCH_DATA", os.path.join(os.path.dirname(HERE), "data"))
IMAGES = "/usr/share/datasets/fashion-mnist"
GT_K = 100


class Dataset:
    """Rows to index, queries, metric; arrays are float32 and mapped, so workers share one copy."""

    def __init__(self, name, metric, base_path, queries_path, rows=None):
        self.name, self.metric = name, metric
        self.base_path, self.queries_path, self.rows = base_path, queries_path, rows
        self.base = np.load(base_path, mmap_mode="r")[:rows]
        self.queries = np.load(queries_path, mmap_mode="r")
        if not len(self.queries) or self.base.shape[1] != self.queries.shape[1]:
            raise BadFile("%s: base %s, queries %s" % (name, self.base.shape, self.queries.shape))
        self.key = self._key()

    def _key(self):
        """Tells this content from any other: shape, metric, and a sample of the rows."""
        h = hashlib.blake2b(digest_size=8)
        h.update(repr((self.base.shape, self.queries.shape, self.metric)).encode())
        step = max(1, len(self.base) // 256)
        h.update(np.ascontiguousarray(self.base[::step]).tobytes())
        h.update(np.ascontiguousarray(self.queries[:256]).tobytes())
        return h.hexdigest()

    def _cached(self, what, make):
        path = os.path.join(CACHE, "truth", "%s-%s-%s.npz" % (_safe(self.name), self.key, what))
        if not os.path.exists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            scratch = path + ".%d.tmp.npz" % os.getpid()
            np.savez(scratch, **make())
            os.replace(scratch, path)
        with np.load(path, allow_pickle=False) as f:
            return {k: f[k] for k in f.files}

    def truth(self, nq, k=GT_K):
        """(ids, distances) of the k nearest of the first nq queries."""
        nq, k = min(nq, len(self.queries)), max(k, GT_K)
        # whole thousands, so that asking for 900 and then 1000 computes once
        whole = min(len(self.queries), -(-nq // 1000) * 1000)
        note("%s: ground truth of %d queries" % (self.name, whole), self.cached_path("gt%d-%d" % (k, whole)))

        def make():
            ids, dist = exact.knn(self.metric, self.base, self.queries[:whole], k, bar("ground truth"))
            return {"ids": ids, "distances": dist}
        got = self._cached("gt%d-%d" % (k, whole), make)
        return got["ids"][:nq], got["distances"][:nq]

    def cached_path(self, what):
        return os.path.join(CACHE, "truth", "%s-%s-%s.npz" % (_safe(self.name), self.key, what))

    def attributes(self):
        """(columns, pivot of each query) for filtered search."""
        def make():
            columns, groups = attributes.make(self.metric, self.base, self.queries)
            out = {"c_" + k: (v.astype("U8") if v.dtype == object else v) for k, v in columns.items()}
            out["groups"] = groups
            return out
        got = self._cached("attributes", make)
        return {k[2:]: v for k, v in got.items() if k.startswith("c_")}, got["groups"]

    def filtered_truth(self, kind, selectivity, queries, k):
        """Exact answers for these query numbers under one filter: ids and distances, -1 and inf past the last."""
        columns, groups = self.attributes()
        picked = hashlib.blake2b(np.asarray(queries, np.int64).tobytes(), digest_size=4).hexdigest()

        def make():
            ids = np.full((len(queries), k), -1, np.int64)
            dist = np.full((len(queries), k), np.inf)
            for pivot in np.unique(groups[queries]):
                mine = np.nonzero(groups[queries] == pivot)[0]
                rows = np.nonzero(attributes.passes(attributes.filter_of(kind, selectivity, pivot), columns))[0]
                if not len(rows):
                    continue
                i, d = exact.knn(self.metric, self.base[rows], self.queries[np.asarray(queries)[mine]], k)
                ids[mine, :i.shape[1]], dist[mine, :i.shape[1]] = rows[i], d
            return {"ids": ids, "distances": dist}
        got = self._cached("filter-%s-%g-%d-%d-%s" % (kind, selectivity, len(queries), k, picked), make)
        return got["ids"], got["distances"]


def _safe(name):
    return "".join(c if c.isalnum() or c in "-_@" else "_" for c in name)[-60:]


def note(message, path):
    if not os.path.exists(path):
        print("bench: computing " + message, file=sys.stderr, flush=True)


def bar(label):
    """A progress line on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        return None

    def show(done, total):
        width = 30
        full = width * done // max(1, total)
        print("\r%s [%s%s] %d/%d" % (label, "#" * full, "." * (width - full), done, total),
              end="\n" if done >= total else "", file=sys.stderr, flush=True)
    return show


def _store(name, base, queries, metric, columns=None):
    folder = os.path.join(CACHE, name)
    scratch = folder + ".%d.tmp" % os.getpid()
    shutil.rmtree(scratch, ignore_errors=True)
    os.makedirs(scratch)
    np.save(os.path.join(scratch, "base.npy"), np.ascontiguousarray(base, np.float32))
    np.save(os.path.join(scratch, "queries.npy"), np.ascontiguousarray(queries, np.float32))
    for k, v in (columns or {}).items():
        np.save(os.path.join(scratch, k + ".npy"), v)
    with open(os.path.join(scratch, "metric"), "w") as f:
        f.write(metric)
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(scratch, folder)


def _make_fashion():
    folder = IMAGES
    base = vecio.read(os.path.join(folder, "train-images-idx3-ubyte.gz"))
    queries = vecio.read(os.path.join(folder, "t10k-images-idx3-ubyte.gz"))
    _store("fashion-mnist", base, queries, "l2")


def _make_hog():
    base, queries, columns = hog.make(IMAGES, 1000000, 10000, bar("hog1m"))
    _store("hog1m", base, queries, "l2", columns)


def _make_text(name, rows, dim):
    base, queries = text.make(rows, 5000, dim, bar(name))
    _store(name, base, queries, "cosine")


MAKERS = {"fashion-mnist": _make_fashion, "hog1m": _make_hog,
          "text256": lambda: _make_text("text256", 250000, 256),
          "text768": lambda: _make_text("text768", 100000, 768)}


def _load_made(name, rows):
    folder = os.path.join(CACHE, name)
    if not os.path.exists(os.path.join(folder, "metric")):
        if not name.startswith("text") and not os.path.isdir(IMAGES):
            raise BadFile("%s: %s is missing (apt-get install dataset-fashion-mnist)" % (name, IMAGES))
        print("bench: making data set %s" % name, file=sys.stderr, flush=True)
        MAKERS[name]()
    with open(os.path.join(folder, "metric")) as f:
        metric = f.read().strip()
    return Dataset(name if rows is None else "%s@%d" % (name, rows), metric,
                   os.path.join(folder, "base.npy"), os.path.join(folder, "queries.npy"), rows)


def _load_file(spec, rows):
    path, *more = spec.split(",")
    if path.endswith((".hdf5", ".h5")):
        base, queries, metric = vecio.read_hdf5(path)
    else:
        base = vecio.read(path)
        if more:
            queries = vecio.read(more[0])
        else:
            held = min(10000, max(1, len(base) // 100))
            base, queries = base[:-held], base[-held:]
        metric = more[1] if len(more) > 1 else "l2"
    if metric not in exact.METRICS:
        raise BadFile("%s: metric %s (known: %s)" % (spec, metric, " ".join(exact.METRICS)))
    if base.shape[1] != queries.shape[1]:
        raise BadFile("%s: base has dimension %d, queries %d" % (spec, base.shape[1], queries.shape[1]))
    if not np.isfinite(np.asarray(queries, np.float32)).all():
        raise BadFile("%s: queries hold NaN or Inf" % spec)
    stamp = os.stat(path)
    name = "%s-%s" % (os.path.splitext(os.path.basename(path))[0], hashlib.blake2b(
        repr((os.path.abspath(path), stamp.st_size, stamp.st_mtime_ns, more)).encode(), digest_size=4).hexdigest())
    folder = os.path.join(CACHE, name)
    if not os.path.exists(os.path.join(folder, "metric")):
        _store(name, base, queries, metric)
    return Dataset(name if rows is None else "%s@%d" % (name, rows), metric,
                   os.path.join(folder, "base.npy"), os.path.join(folder, "queries.npy"), rows)


def load(spec):
    """A Dataset; BadFile, naming the file or the name, when it cannot be had."""
    name, _, rows = spec.partition("@")
    if rows and not (rows.isdigit() and int(rows) > 0):
        raise BadFile("%s: %s is not a number of rows" % (spec, rows))
    rows = int(rows) if rows else None
    if name in MAKERS:
        return _load_made(name, rows)
    if os.path.splitext(name.split(",")[0])[1] or os.sep in name:
        return _load_file(name, rows)
    raise BadFile("%s: no such data set (known: %s, or a file)" % (name, " ".join(MAKERS)))
