"""Threads that write, search, read, delete, tidy and close at the same time, for AddressSanitizer to watch the library.

    stress.py [SECONDS]

Everything is checked that can be while others write: keys come back with their own rows, distances ascend, counts are
possible. The seed replays with VECDB_TEST_SEED; `make python-asan` runs it with the sanitizer's runtime preloaded.
"""

import random
import shutil
import sys
import tempfile
import threading
import time

import support
from support import SEED, np, vecdb

DIM = 16


def vector(key):
    generator = np.random.default_rng(key)
    return generator.standard_normal(DIM).astype(np.float32)


class Stress:
    def __init__(self, seconds):
        self.until = time.monotonic() + seconds
        self.errors = []
        self.calls = {}
        self.lock = threading.Lock()

    def work(self, name, function):
        generator = random.Random(f"{SEED} {name}")
        try:
            while time.monotonic() < self.until:
                function(generator)
                with self.lock:
                    self.calls[name.split()[0]] = self.calls.get(name.split()[0], 0) + 1
        except vecdb.MisuseError as error:
            if "closed" not in str(error):  # closing is one of the things that happen
                self.errors.append(f"{name}: {error!r}")
        except BaseException as error:
            self.errors.append(f"{name}: {error!r}")

    def round(self, db, name):
        """One collection under load, closed by another thread while it is."""
        collection = db.create_collection(
            name,
            [
                vecdb.Field("id", "INT64", primary_key=True),
                vecdb.Field("n", "INT64"),
                vecdb.Field("text", "VARCHAR", max_length=40),
                vecdb.Field("v", "FLOAT_VECTOR", dim=DIM),
            ],
        )
        collection.create_index("v", "HNSW", metric_type="L2", M=8, efConstruction=40)

        def write(generator):
            keys = [generator.randrange(4000) for _ in range(generator.randrange(1, 200))]
            keys = sorted(set(keys))
            rows = {"id": keys, "n": [k * 2 for k in keys], "text": [f"row {k}" for k in keys], "v": np.stack([vector(k) for k in keys])}
            collection.upsert(rows)

        def search(generator):
            queries = np.stack([vector(generator.randrange(4000)) for _ in range(generator.choice([1, 1, 5]))])
            found = collection.search(queries if len(queries) > 1 else queries[0], limit=5, ef=32)
            for ids, distances in zip(found.ids, found.distances):
                kept = distances[~np.isnan(distances)]
                assert (np.diff(kept) >= 0).all(), (ids, distances)

        def fields(generator):
            low = generator.randrange(4000)
            for hits in collection.search(vector(low), limit=5, filter=f"n >= {low}", output_fields=["n", "text"]):
                for hit in hits:
                    assert hit["n"] == hit.id * 2 >= low and hit["text"] == f"row {hit.id}", hit

        def read(generator):
            keys = [generator.randrange(4000) for _ in range(20)]
            for row in collection.get(keys, ["n", "v"]):
                assert row["n"] == row["id"] * 2 and row["v"].tolist() == vector(row["id"]).tolist(), row
            assert 0 <= collection.count(f"n < {generator.randrange(8000)}") <= 4000

        def pages(generator):
            seen = set()
            with collection.query_iterator("n >= 0", ["n"], batch_size=97) as iterator:
                for page in iterator:
                    for row in page:
                        assert row["id"] not in seen
                        seen.add(row["id"])

        def delete(generator):
            low = generator.randrange(4000)
            collection.delete(filter=f"id >= {low} and id < {low + 60}")

        def tidy(generator):
            generator.choice([collection.flush, collection.optimize, collection.stats, collection.load, collection.release])()
            time.sleep(0.02)

        works = [write, write, search, search, fields, read, pages, delete, tidy]
        threads = [
            threading.Thread(target=self.work, args=(f"{work.__name__} {i}", work)) for i, work in enumerate(works)
        ]
        for thread in threads:
            thread.start()
        time.sleep(max(0.2, min(2.0, (self.until - time.monotonic()) / 2)))
        collection.close()  # waits for the calls that run; those after it raise
        for thread in threads:
            thread.join(120)
            if thread.is_alive():
                self.errors.append(f"{thread.name} hangs")
        db.drop_collection(name)


def main():
    stress = Stress(float(sys.argv[1]) if len(sys.argv) > 1 else 10)
    folder = tempfile.mkdtemp(prefix="vecdb-stress-")
    rounds = 0
    try:
        while time.monotonic() < stress.until and not stress.errors:
            path = f"{folder}/db{rounds % 3}" if rounds % 2 else None
            with vecdb.open(path) as db:
                stress.round(db, f"c{rounds}")
            rounds += 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    calls = ", ".join(f"{count} {name}" for name, count in sorted(stress.calls.items()))
    print(f"seed {SEED}, {rounds} rounds: {calls}; library {support._library.lib._name}")
    for error in stress.errors:
        print(error, file=sys.stderr)
    return 1 if stress.errors or not rounds else 0


if __name__ == "__main__":
    sys.exit(main())
