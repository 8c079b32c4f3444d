"""What comes after a first build: rows that are inserted into an index, and searches of rows that were never optimised.

    growth.py BASE.npy QUERIES.npy [--rows N] [--rounds N] [--batch N]

Insertion: all rows in batches into a collection that has its HNSW index already, until all but fewer than 4,096 are in it (those wait,
and are scanned beside it), beside hnswlib adding the same rows to an empty graph on as many threads (M 16, efConstruction 200). Seconds
of wall and of processor.
Freshness: the same rows, just inserted and then optimised: queries a second of the asking thread's processor time, one at a time, at the
first ef with recall .95, or the last there is if none reaches it, which the output says; all but fewer than 4,096 rows are in the
index by then, and no upkeep has been asked for.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bindings" / "python"))
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np  # noqa: E402

K = 10
WANTED = 0.95
WAITING = 4096  # upkeep lets fewer rows than this wait
EFS = (10, 12, 16, 20, 24, 32, 48, 64, 96, 128)
BUILD = {"M": 16, "efConstruction": 200}


def took(work):
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def exact(base, queries):
    squares = (base * base).sum(1)
    return np.stack([np.argsort(squares - 2 * (base @ q), kind="stable")[:K] for q in queries])


def insert(folder, base, batch):
    import vecdb

    db = vecdb.open(folder, threads=os.cpu_count(), durability="none")
    collection = db.create_collection("rows", [vecdb.Field("id", "INT64", primary_key=True),
                                               vecdb.Field("v", "FLOAT_VECTOR", dim=base.shape[1])])
    collection.create_index("v", "HNSW", metric_type="L2", **BUILD)

    def work():
        for s in range(0, len(base), batch):
            part = base[s:s + batch]
            collection.insert({"id": np.arange(s, s + len(part)), "v": part})
        inserted = time.perf_counter()
        while collection.index("v")["pending_rows"] >= WAITING:
            time.sleep(0.01)
        return inserted

    started = time.perf_counter()
    inserted, wall, cpu = took(work)
    return db, collection, inserted - started, wall, cpu


def hnswlib_adds(base):
    import hnswlib

    index = hnswlib.Index(space="l2", dim=base.shape[1])
    index.init_index(max_elements=len(base), M=BUILD["M"], ef_construction=BUILD["efConstruction"], random_seed=100)
    return took(lambda: index.add_items(base, num_threads=os.cpu_count()))[1:]


def curve(collection, queries, truth):
    """Rate and recall of the first ef that reaches WANTED, and it; of the last if none does."""
    for ef in EFS:
        rates, found = [], 0
        for repeat in range(3):
            start = time.thread_time()
            answers = [collection.search(q, K, ef=ef) for q in queries]
            rates.append(len(queries) / (time.thread_time() - start))
        for answer, true in zip(answers, truth):
            found += len(np.intersect1d(np.asarray(answer.ids).reshape(-1), true))
        if found >= WANTED * K * len(queries):
            break
    return statistics.median(rates), found / K / len(queries), ef


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base")
    parser.add_argument("queries")
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--no-hnswlib", action="store_true")
    a = parser.parse_args()
    base = np.load(a.base, mmap_mode="r")
    base = np.ascontiguousarray(base[:a.rows] if a.rows else base, dtype=np.float32)
    queries = np.ascontiguousarray(np.load(a.queries, mmap_mode="r")[:500], dtype=np.float32)
    truth = exact(base, queries)
    if not a.no_hnswlib:
        wall, cpu = hnswlib_adds(base)
        print("hnswlib adds %d rows of %d: %.2f s, %.2f of processor" % (len(base), base.shape[1], wall, cpu), flush=True)
    for _ in range(a.rounds):
        folder = tempfile.mkdtemp(prefix="growth-", dir=os.environ.get("TMPDIR", "/tmp"))
        try:
            db, collection, inserting, wall, cpu = insert(folder, base, a.batch)
            print("vecdb inserts them: %.2f s, %.2f until all but fewer than %d are in the index, %.2f of processor" %
                  (inserting, wall, WAITING, cpu))
            fresh = curve(collection, queries, truth)
            optimizing = took(collection.optimize)[1]
            done = curve(collection, queries, truth)
            print("just inserted: %.0f queries/s at recall %.4f (ef %d); optimised in %.2f s: %.0f at %.4f (ef %d); %.0f %%" %
                  (*fresh, optimizing, *done, 100 * fresh[0] / done[0]), flush=True)
            for name, (_, recall, ef) in (("just inserted", fresh), ("optimised", done)):
                if recall < WANTED:
                    print("  %s, no ef up to %d reaches recall %.2f: the two rates are not at equal recall" % (name, ef, WANTED))
            db.close()
        finally:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
