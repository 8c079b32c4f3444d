"""Libraries that cheat or break, for test_bench_harness.py; each runs in the harness's own worker process."""
import os
import time

import numpy as np

from bench.adapters.base import Adapter, Plan, path_in


class Honest(Adapter):
    """Exact search; the cheats below change one thing each."""
    library = "honest"
    features = ("insert", "delete", "mixed", "range", "filter")

    @classmethod
    def plans(cls, metric, n, dim, effort):
        return [Plan("FLAT", {}, [{}], exact=True)]

    @classmethod
    def version(cls):
        return "1"

    def fit(self, base, columns=None):
        self.base = np.array(base)

    def save(self):
        np.save(path_in(self.folder, "base.npy"), self.base)

    def open(self):
        self.base = np.load(os.path.join(self.folder, "base.npy"))
        self.deleted = set()

    def set_query_arguments(self, **params):
        self.params = params

    mask = None

    def set_filter(self, expression, mask):
        self.mask = mask

    def query(self, one, k):
        d = ((self.base.astype(np.float64) - one) ** 2).sum(1)
        if self.deleted:
            d[list(self.deleted)] = np.inf
        if self.mask is not None:
            d[~self.mask] = np.inf
        ids = np.argsort(d, kind="stable")[:k]
        ids = ids[np.isfinite(d[ids])] if self.mask is not None else ids
        return ids, d[ids]

    def batch_query(self, batch, k):
        both = [self.query(q, k) for q in batch]
        return np.stack([b[0] for b in both]), np.stack([b[1] for b in both])

    def range_query(self, one, radius):
        ids, d = self.query(one, len(self.base))
        return ids[d <= radius], d[d <= radius]

    def create(self, durability):
        self.base, self.deleted = np.zeros((0, self.dim), np.float32), set()

    def insert(self, ids, vectors):
        self.base = np.concatenate([self.base, vectors])

    def delete(self, ids):
        self.deleted |= set(int(i) for i in ids)


class WrongIds(Honest):
    """Other rows under the distances of the right ones."""

    def query(self, one, k):
        ids, d = super().query(one, k)
        return (ids + len(self.base) // 2) % len(self.base), d


class NoSuchIds(Honest):
    def query(self, one, k):
        ids, d = super().query(one, k)
        return ids + len(self.base), d


class TooFew(Honest):
    def query(self, one, k):
        ids, d = super().query(one, k)
        return ids[:k // 2], d[:k // 2]

    def unpack_batch(self, raw, k):
        ids, d = raw
        rest = k - ids.shape[1]
        return np.pad(ids, ((0, 0), (0, rest)), constant_values=-1), np.pad(d, ((0, 0), (0, rest)))


class Stale(Honest):
    """Always a question behind."""
    last = None

    def query(self, one, k):
        answer = super().query(one, k)
        self.last, old = answer, self.last
        return old if old is not None else answer


class Twice(Honest):
    """Fills its answer up with the nearest row."""

    def query(self, one, k):
        ids, d = super().query(one, k)
        return np.full(k, ids[0]), np.full(k, d[0])


class MadeUp(Honest):
    """The right rows, but says that they are nearer than they are."""

    def query(self, one, k):
        ids, d = super().query(one, k)
        return ids, d * 0.9


class Drawer(Honest):
    """Searches slowly, once, and keeps the answer for the next time it is asked."""

    def open(self):
        super().open()
        self.drawer = {}

    def query(self, one, k):
        key = one.tobytes()
        if key not in self.drawer:
            time.sleep(0.002)
            self.drawer[key] = super().query(one, k)
        return self.drawer[key]


class Promises(Honest):
    """Returns at once and searches when the answer is read."""

    def query(self, one, k):
        return lambda: (time.sleep(0.002), super(Promises, self).query(one, k))[1]

    def unpack(self, raw, k):
        return super().unpack(raw(), k)

    def batch_query(self, batch, k):
        return [self.query(q, k) for q in batch]

    def unpack_batch(self, raw, k):
        both = [r() for r in raw]
        return np.stack([b[0] for b in both]), np.stack([b[1] for b in both])


class Ghosts(Honest):
    """Deleted rows stay."""

    def delete(self, ids):
        pass


class Leaks(Honest):
    """Forgets the filter."""

    def set_filter(self, expression, mask):
        pass


class Wide(Honest):
    """Range answers with rows from outside."""

    def range_query(self, one, radius):
        return super().range_query(one, radius * 2)


class Crashes(Honest):
    def fit(self, base, columns=None):
        os.abort()


class CrashesLater(Honest):
    def query(self, one, k):
        os.abort()


class Hangs(Honest):
    def fit(self, base, columns=None):
        time.sleep(600)


class Eats(Honest):
    def fit(self, base, columns=None):
        self.food = []
        while True:
            self.food.append(np.ones(4 << 20))
            time.sleep(0.01)


class Raises(Honest):
    def fit(self, base, columns=None):
        raise ValueError("dimension 8 is not to my taste")


class Missing(Honest):
    @classmethod
    def version(cls):
        import no_such_library_anywhere  # noqa: F401


class Slow(Honest):
    """Takes its time over building: the suite is stopped in the middle of it."""

    def fit(self, base, columns=None):
        time.sleep(float(os.environ.get("VECDB_TEST_SLOW", "0")))
        super().fit(base, columns)


# for bench/compare --adapters
ADAPTERS = {"honest": "Honest", "slow": "Slow", "crashes": "Crashes", "crashes-later": "CrashesLater",
            "hangs": "Hangs", "eats": "Eats", "raises": "Raises", "missing": "Missing", "wrong-ids": "WrongIds"}
