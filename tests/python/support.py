"""What the Python tests share: the package on the path, small collections, brute force, and what this library can do."""

from __future__ import annotations

import math
import os
import random
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
if not os.environ.get("VECDB_TEST_INSTALLED"):
    sys.path.insert(0, str(ROOT / "bindings" / "python"))

import vecdb  # noqa: E402
from vecdb import _library  # noqa: E402

try:
    if os.environ.get("VECDB_NO_NUMPY"):
        raise ImportError
    import numpy as np
except ImportError:
    np = None

SEED = int(os.environ.get("VECDB_TEST_SEED", random.SystemRandom().randrange(1 << 32)))


def rng():
    """A numpy generator; the seed replays it with VECDB_TEST_SEED."""
    return np.random.default_rng(SEED)


def has_call(name):
    """Whether the library has a function."""
    return getattr(_library.lib, name).__class__.__name__ != "function"


def needs_call(*names):
    missing = [name for name in names if not has_call(name)]
    return unittest.skipIf(missing, f"the library has no {', '.join(missing)} yet")


def _probe(function):
    try:
        function()
        return True
    except (vecdb.UnsupportedError, vecdb.NotFoundError, vecdb.InvalidError):
        return False


def _filters_work():
    with vecdb.open() as db:
        c = db.create_collection("p", [vecdb.Field("id", "INT64", primary_key=True), vecdb.Field("v", "FLOAT_VECTOR", dim=2)])
        c.insert({"id": [1], "v": [[1.0, 2.0]]})
        c.query("id == 1")


def _index_works(kind):
    def probe():
        with vecdb.open() as db:
            c = db.create_collection(
                "p", [vecdb.Field("id", "INT64", primary_key=True), vecdb.Field("v", "FLOAT_VECTOR", dim=8)]
            )
            c.create_index("v", kind, metric_type="L2")

    return probe


def _disk_works():
    folder = tempfile.mkdtemp()
    try:
        with vecdb.open(os.path.join(folder, "db")) as db:
            db.create_collection(
                "p", [vecdb.Field("id", "INT64", primary_key=True), vecdb.Field("v", "FLOAT_VECTOR", dim=2)]
            ).close()
    finally:
        shutil.rmtree(folder)


HAS_FILTERS = _probe(_filters_work)
HAS_DISK = _probe(_disk_works)
INDEXES = {kind for kind in ("FLAT", "HNSW", "IVF_FLAT", "IVF_SQ8", "IVF_PQ", "BIN_FLAT") if _probe(_index_works(kind))}

needs_filters = unittest.skipUnless(HAS_FILTERS, "the library has no filters yet")
needs_disk = unittest.skipUnless(HAS_DISK, "the library has no store on disk yet")
needs_numpy = unittest.skipIf(np is None, "numpy is not installed")


def needs_index(*kinds):
    missing = [kind for kind in kinds if kind not in INDEXES]
    return unittest.skipIf(missing, f"the library has no index {', '.join(missing)} yet")


class Case(unittest.TestCase):
    """A test with a database in memory and a scratch directory."""

    maxDiff = None

    def setUp(self):
        self.db = vecdb.open()
        self.addCleanup(self.db.close)

    def folder(self):
        path = tempfile.mkdtemp(prefix="vecdb-test-")
        self.addCleanup(shutil.rmtree, path, ignore_errors=True)
        return path

    def films(self, count=50, dim=8, **options):
        """Keys 0..count-1, years 1950 + key, titles, a vector of small whole numbers each."""
        films = self.db.create_collection(
            options.pop("name", "films"),
            [
                vecdb.Field("id", "INT64", primary_key=True),
                vecdb.Field("year", "INT32"),
                vecdb.Field("title", "VARCHAR", max_length=100),
                vecdb.Field("embedding", "FLOAT_VECTOR", dim=dim),
            ],
            **options,
        )
        if count:
            films.insert(film_columns(count, dim))
        return films


def film_vector(key, dim=8):
    return [float((key * (i + 3) + i * i) % 17) + (1.0 if i == 0 else 0.0) for i in range(dim)]


def film_columns(count, dim=8, first=0):
    keys = list(range(first, first + count))
    return {
        "id": keys,
        "year": [1950 + key for key in keys],
        "title": [f"Film {key}" for key in keys],
        "embedding": [film_vector(key, dim) for key in keys],
    }


# -- brute force, written for clarity and in plain Python ----------------------------------------------------------


def score(metric, a, b):
    """What the metric gives for two vectors of numbers (bits, for HAMMING and JACCARD)."""
    if metric == "L2":
        return sum((x - y) ** 2 for x, y in zip(a, b))
    if metric == "IP":
        return sum(x * y for x, y in zip(a, b))
    if metric == "COSINE":
        norm = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(y * y for y in b))
        return sum(x * y for x, y in zip(a, b)) / norm
    if metric == "HAMMING":
        return sum(x != y for x, y in zip(a, b))
    both = sum(x and y for x, y in zip(a, b))
    either = sum(x or y for x, y in zip(a, b))
    return 1 - both / either if either else 0.0


def nearest(metric, query, rows, k):
    """[(key, score)] of the k nearest of {key: vector}; ties to the smaller key."""
    sign = -1 if metric in ("IP", "COSINE") else 1
    scored = sorted((sign * score(metric, query, vector), key) for key, vector in rows.items())
    return [(key, sign * value) for value, key in scored[:k]]


def plain(values):
    return values.tolist() if hasattr(values, "tolist") else list(values)
