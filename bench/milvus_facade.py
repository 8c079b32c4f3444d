"""vecdb.milvus beside pymilvus with milvus-lite: the same calls, the same data, in the same process, in turn.

    milvus_facade.py [--rows N] [--dim N] [--batch N] [--limit N] [--rounds N]

milvus-lite writes its log without waiting for the disk, so vecdb is asked to do the same (durability "none"); what its
default, "full", costs is in a line of its own, and so is the time until every row is sealed and in the index (milvus-lite
builds the index within flush; Milvus and vecdb do it in the background). Both sides insert the same row dicts with MilvusClient.insert, flush, build HNSW (M 16, efConstruction 200, L2), and answer
the same searches and queries. milvus-lite searches with ef 64 whatever is asked for; vecdb is given the smallest ef that
reaches its recall. Medians over rounds, and how many times milvus-lite's rate vecdb's is.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bindings" / "python"))

import numpy as np  # noqa: E402

WANTED = 10.0
INSERT, FLUSH, COMPLETE = "insert", "insert + flush", "insert + flush, all indexed"


def make_rows(rng, count, dim):
    centres = rng.standard_normal((256, dim)).astype(np.float32)
    matrix = (centres[rng.integers(256, size=count)] + 0.4 * rng.standard_normal((count, dim))).astype(np.float32)
    return matrix


def exact(matrix, queries, limit):
    squares = (matrix**2).sum(1)
    found = []
    for query in queries:
        distance = squares - 2 * (matrix @ query)
        nearest = np.argpartition(distance, limit)[:limit]
        found.append(set(nearest[np.argsort(distance[nearest])].tolist()))
    return found


class Side:
    """One implementation of MilvusClient over a directory of its own."""

    def __init__(self, name, module, folder, dim, **options):
        self.name, self.module, self.dim = name, module, dim
        self.client = module.MilvusClient(os.path.join(folder, f"{name}.db"), **options)

    def create(self, name):
        schema = self.client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", self.module.DataType.INT64, is_primary=True)
        schema.add_field("vector", self.module.DataType.FLOAT_VECTOR, dim=self.dim)
        schema.add_field("n", self.module.DataType.INT64)
        schema.add_field("colour", self.module.DataType.VARCHAR, max_length=32)
        index = self.client.prepare_index_params()
        index.add_index("vector", index_type="HNSW", metric_type="L2", params={"M": 16, "efConstruction": 200})
        self.client.create_collection(name, schema=schema, index_params=index)

    def fill(self, name, rows, batch):
        """Seconds of all inserts, and of the flush after them."""
        start = time.perf_counter()
        for at in range(0, len(rows), batch):
            self.client.insert(name, rows[at : at + batch])
        inserted = time.perf_counter()
        self.client.flush(name)
        return inserted - start, time.perf_counter() - inserted

    def search(self, queries, limit, ef, **more):
        return self.client.search(
            "rows", queries, limit=limit, search_params={"metric_type": "L2", "params": {"ef": ef}}, **more
        )

    def recall(self, queries, truth, limit, ef):
        found = self.search(queries, limit, ef)
        hits = sum(len(expected & {hit["id"] for hit in row}) for expected, row in zip(truth, found))
        return hits / (limit * len(queries))


def timed(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=20000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--batch", type=int, default=1000, help="rows an insert")
    parser.add_argument("--limit", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json")
    options = parser.parse_args()
    import importlib.metadata
    import logging

    import pymilvus

    logging.disable(logging.CRITICAL)
    from vecdb import milvus

    rng = np.random.default_rng(11)
    matrix = make_rows(rng, options.rows + 200, options.dim)
    queries, matrix = matrix[options.rows :], matrix[: options.rows]
    truth = exact(matrix, queries, options.limit)
    colours = ["red", "green", "blue", "white"]
    rows = [
        {"id": i, "vector": vector, "n": i % 1000, "colour": colours[i % 4]} for i, vector in enumerate(matrix.tolist())
    ]
    asked = queries.tolist()
    folder = tempfile.mkdtemp(prefix="vecdb-facade-")
    versions = f"milvus-lite {importlib.metadata.version('milvus-lite')}, pymilvus {importlib.metadata.version('pymilvus')}"
    ours = Side("vecdb", milvus, folder, options.dim, durability="none")
    durable = Side("durable", milvus, folder, options.dim)
    lite = Side("lite", pymilvus, folder, options.dim)
    times = {}

    def both(what, call, count, rounds=options.rounds):
        for number in range(rounds):
            for side in (ours, lite) if number % 2 else (lite, ours):
                times.setdefault(what, {}).setdefault(side.name, []).append(timed(lambda: call(side)) / count)

    # -- writing: fresh collections, each round ------------------------------------------------------------------
    for number in range(3):
        for side in (ours, durable, lite) if number % 2 else (lite, durable, ours):
            name = "rows" if number == 2 else "first"
            side.create(name)
            inserted, flushed = side.fill(name, rows, options.batch)
            complete = inserted + flushed
            if side is not lite:
                complete += timed(lambda: side.client.compact(name))  # seals and indexes now what waits for it
            for what, seconds in ((INSERT, inserted), (FLUSH, inserted + flushed), (COMPLETE, complete)):
                times.setdefault(what, {}).setdefault(side.name, []).append(seconds / len(rows))
            if name == "first" or side is durable:
                side.client.drop_collection(name)
    durable.client.close()
    for side in (ours, lite):
        side.client.load_collection("rows")

    # -- recall: what milvus-lite has, and the ef that gives vecdb as much ---------------------------------------
    theirs = lite.recall(asked, truth, options.limit, 64)
    chosen, reached = 512, 0.0
    for ef in (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512):
        reached = ours.recall(asked, truth, options.limit, max(ef, options.limit))
        if reached >= theirs:
            chosen = max(ef, options.limit)
            break
    ef = {"vecdb": chosen, "lite": 64}

    both("search, one at a time", lambda side: [side.search([q], options.limit, ef[side.name]) for q in asked[:20]], 20)
    both("search, batches of 100", lambda side: side.search(asked[:100], options.limit, ef[side.name]), 100)
    both(
        "search with fields",
        lambda side: [side.search([q], options.limit, ef[side.name], output_fields=["n", "colour"]) for q in asked[:20]], 20,
    )  # fmt: skip
    for text, share in (("n < 100 and colour == 'red'", "2.5 %"), ("n < 10", "1 %"), ("n >= 500", "50 %")):
        both(
            f"search, filter of {share}",
            lambda side: [side.search([q], options.limit, ef[side.name], filter=text) for q in asked[:10]], 10,
        )  # fmt: skip
        both(
            f"query, filter of {share}",
            lambda side: [side.client.query("rows", filter=text, output_fields=["id", "n"], limit=100) for _ in range(5)], 5,
        )  # fmt: skip
    both("get of 10 keys", lambda side: [side.client.get("rows", ids=list(range(i, i + 10)), output_fields=["n"]) for i in range(10)], 10)

    print(f"{options.rows} x {options.dim}, HNSW M 16 efConstruction 200, L2, k {options.limit}; {versions}")
    print(f"recall@{options.limit}: vecdb {reached:.4f} (ef {chosen}), milvus-lite {theirs:.4f} (ef 64)")
    facts = {"recall": {"vecdb": reached, "lite": theirs}, "ratios": {}, "rows": options.rows, "dim": options.dim}
    good = reached >= theirs
    print(f"{'':36}{'vecdb':>12}{'milvus-lite':>14}")
    lines = []
    for what, found in times.items():
        lines.append((what, found["vecdb"], found["lite"], what != COMPLETE))
        if "durable" in found:
            lines.append((f"{what}, durable", found["durable"], found["lite"], False))
    for what, mine, its, promised in lines:
        a, b = statistics.median(mine), statistics.median(its)
        ratio = b / a
        facts["ratios"][what] = round(ratio, 2)
        good = good and (ratio >= WANTED or not promised)
        below = f"   BELOW {WANTED:g}" if promised and ratio < WANTED else ""
        print(f"{what:36}{a * 1e6:9.1f} us{b * 1e6:11.1f} us   {ratio:7.1f} x{below}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(facts, file, indent=1)
    for side in (ours, lite):
        side.client.close()
    shutil.rmtree(folder, ignore_errors=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
