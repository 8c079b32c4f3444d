"""What Python costs: the binding beside C, on the same collections, in the same process, in turn.

    python_overhead.py python_overhead.so [--rows N] [--dim N] [--limit N] [--ef N] [--rounds N]

Single searches: what one call of Collection.search with a numpy vector takes beyond vecdb_search_into with everything
prepared. Batches and inserts: Python's rate over C's. Medians over rounds; each round runs both sides, now one first, now
the other. `make bench-python` builds what it needs and runs it.
"""

import argparse
import ctypes
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bindings" / "python"))

import numpy as np  # noqa: E402

import vecdb  # noqa: E402
from vecdb import _library  # noqa: E402

#: What the project promises.
SINGLE_MICROSECONDS, BATCH_SHARE, INSERT_SHARE = 8.0, 0.97, 0.90


def load(path):
    library = ctypes.CDLL(path)
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    for name, arguments in (
        ("search_each", [pointer, pointer, pointer, size, size, pointer, pointer, pointer]),
        ("search_batch", [pointer, pointer, pointer, pointer, pointer]),
        ("insert", [pointer, pointer, pointer, size, size, size]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = ctypes.c_double, arguments
    return library


def in_turn(rounds, one, other):
    """Times of both sides, alternating which goes first."""
    times = ([], [])
    for number in range(rounds):
        for side in (0, 1) if number % 2 else (1, 0):
            times[side].append((one, other)[side]())
    return times


def vectors(rng, count, dim):
    """Clustered, as embeddings are."""
    centres = rng.standard_normal((256, dim)).astype(np.float32)
    return (centres[rng.integers(256, size=count)] + 0.4 * rng.standard_normal((count, dim))).astype(np.float32)


def request_for(queries, options):
    request = _library.new_search_request()
    request.field = b"v"
    request.query_type = int(vecdb.DataType.FLOAT_VECTOR)
    request.dim = queries.shape[1]
    request.query_count = len(queries)
    request.queries = queries.ctypes.data
    request.limit = options.limit
    request.params = b'{"ef":%d}' % options.ef if options.ef else None
    return request


def searches(library, collection, queries, options):
    """[name, seconds a query in C, in Python] for single searches and batches."""
    handle = collection._gate.handle
    search = {"ef": options.ef} if options.ef else {}
    keys = np.empty((len(queries), options.limit), np.int64)
    scores = np.empty((len(queries), options.limit), np.float32)
    counts = np.zeros(len(queries), np.uintp)
    out = (keys.ctypes.data, scores.ctypes.data, counts.ctypes.data)
    best = np.empty(options.limit, np.int64), np.empty(options.limit, np.float32), np.zeros(1, np.uintp)
    out_one = tuple(array.ctypes.data for array in best)
    one = request_for(queries[:1], options)
    rows = list(queries)

    def c_single():
        seconds = library.search_each(
            handle, ctypes.addressof(one), queries.ctypes.data, len(queries), queries.shape[1], *out_one
        )
        assert seconds > 0
        return seconds / len(queries)

    def python_single():
        start = time.perf_counter()
        for row in rows:
            collection.search(row, limit=options.limit, **search)
        return (time.perf_counter() - start) / len(queries)

    whole = request_for(queries, options)

    def c_batch():
        seconds = library.search_batch(handle, ctypes.addressof(whole), *out)
        assert seconds > 0
        return seconds / len(queries)

    def python_batch():
        start = time.perf_counter()
        found = collection.search(queries, limit=options.limit, **search)
        seconds = (time.perf_counter() - start) / len(queries)
        assert (found.ids == keys).all()
        return seconds

    c_batch()
    assert (collection.search(queries[0], limit=options.limit, **search).ids[0] == keys[0]).all()
    return [
        ("single", *in_turn(options.rounds, c_single, python_single)),
        ("batch", *in_turn(20 * options.rounds, c_batch, python_batch)),  # short rounds, so more of them
    ]


def inserts(library, db, matrix, options):
    """Seconds a row to insert the matrix, in C and in Python, into fresh collections."""
    ids = np.arange(len(matrix), dtype=np.int64)
    made = [0]

    def fresh():
        made[0] += 1
        return db.create_collection(f"insert{made[0]}", fields(matrix.shape[1]))

    def drop(collection):
        name = collection.name
        collection.close()
        db.drop_collection(name)

    def c_side():
        collection = fresh()
        seconds = library.insert(
            collection._gate.handle, matrix.ctypes.data, ids.ctypes.data, len(matrix), matrix.shape[1], options.batch
        )
        assert seconds > 0 and collection.count() == len(matrix)
        drop(collection)
        return seconds / len(matrix)

    def python_side():
        collection = fresh()
        start = time.perf_counter()
        for at in range(0, len(matrix), options.batch):
            collection.insert({"id": ids[at : at + options.batch], "v": matrix[at : at + options.batch]})
        seconds = time.perf_counter() - start
        assert collection.count() == len(matrix)
        drop(collection)
        return seconds / len(matrix)

    return in_turn(options.rounds, c_side, python_side)


def fields(dim):
    return [vecdb.Field("id", "INT64", primary_key=True), vecdb.Field("v", "FLOAT_VECTOR", dim=dim)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("library", help="python_overhead.so")
    parser.add_argument("--rows", type=int, default=50000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--limit", type=int, default=10)
    parser.add_argument("--ef", type=int, default=64)
    parser.add_argument("--batch", type=int, default=50000, help="rows an insert")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--json", help="write the numbers to this file too")
    options = parser.parse_args()
    library = load(options.library)
    rng = np.random.default_rng(7)
    data = vectors(rng, options.rows + 2000, options.dim)
    queries = np.ascontiguousarray(data[options.rows :])
    matrix = np.ascontiguousarray(data[: options.rows])
    facts = {"rows": options.rows, "dim": options.dim, "limit": options.limit, "ef": options.ef, "simd": vecdb.simd(), "library": vecdb.version()}
    rows = []
    with vecdb.open() as db:
        collection = db.create_collection("search", fields(options.dim))
        collection.insert({"id": np.arange(options.rows), "v": matrix})
        collection.create_index("v", "HNSW", metric_type="L2", M=16, efConstruction=100)
        rows += searches(library, collection, queries, options)
        collection.close()
        rows.append(("insert, memory", *inserts(library, db, matrix, options)))
    with tempfile.TemporaryDirectory() as folder:
        for durability in ("none", "full"):
            with vecdb.open(os.path.join(folder, durability), durability=durability) as db:
                rows.append((f"insert, directory, {durability}", *inserts(library, db, matrix, options)))
    print(f"{options.rows} x {options.dim}, HNSW, k {options.limit}, ef {options.ef}, {options.rounds} rounds in turn, {vecdb.simd()}")
    print(f"{'':28}{'C':>12}{'Python':>12}")
    good = True
    for name, c_times, python_times in rows:
        c, python = statistics.median(c_times) * 1e6, statistics.median(python_times) * 1e6
        line = f"{name:28}{c:9.2f} us{python:9.2f} us"
        if name == "single":
            added = statistics.median(p - c for p, c in zip(python_times, c_times)) * 1e6
            fine = added <= SINGLE_MICROSECONDS
            line += f"   adds {added:.2f} us (limit {SINGLE_MICROSECONDS:g})"
            facts["single_added_us"] = round(added, 2)
        else:
            share = c / python
            wanted = BATCH_SHARE if name == "batch" else INSERT_SHARE
            fine = share >= wanted
            line += f"   {100 * share:.1f} % of C's rate (limit {100 * wanted:g} %)"
            facts[f"{name} share"] = round(share, 4)
        good = good and fine
        print(line + ("" if fine else "   MISSED"))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(facts, file, indent=1)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
