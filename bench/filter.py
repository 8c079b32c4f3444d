"""Filters against DuckDB and NumPy, one thread, the same million rows: python3 bench/filter.py build/bench_filter

Needs numpy and duckdb. Prints each system's best time and how many times ours it is.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np


def write_text(path, values):
    encoded = [v.encode() for v in values]
    offsets = np.zeros(len(encoded) + 1, np.uint32)
    np.cumsum([len(v) for v in encoded], out=offsets[1:])
    with open(path, "wb") as file:
        file.write(offsets.tobytes())
        file.write(b"".join(encoded))


def best(run, rounds):
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        found = run()
        times.append((time.perf_counter() - start) * 1e3)
    return found, min(times)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--rows", type=int, default=1000000)
    parser.add_argument("--data", help="keep the program's input here, for running it alone")
    parser.add_argument("--only-data", action="store_true")
    options = parser.parse_args()
    n = options.rows
    dice = np.random.default_rng(1)
    year = dice.integers(0, 100000, n).astype(np.int32)
    price = dice.random(n, np.float32)
    category = ["category_%04d" % i for i in dice.integers(0, 1000, n)]
    code = ["code_%06d" % i for i in dice.integers(0, 10000, n)]
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    title = ["".join(row) for row in letters[dice.integers(0, 26, (n, 20))]]
    doc = ['{"a": {"b": %d, "c": "%s"}, "name": "item %d", "tags": ["x", "y"]}' % (b, t[:4], i)
           for i, (b, t) in enumerate(zip(dice.integers(0, 1000, n), title))]
    results = {}
    with tempfile.TemporaryDirectory() as directory:
        if options.data:
            directory = options.data
            os.makedirs(directory, exist_ok=True)
        with open(directory + "/rows", "wb") as file:
            file.write(np.uint64(n).tobytes())
        year.tofile(directory + "/year.i32")
        price.tofile(directory + "/price.f32")
        for name, values in (("category", category), ("code", code), ("title", title), ("doc", doc)):
            write_text("%s/%s.text" % (directory, name), values)
        if options.only_data:
            return 0
        for line in subprocess.run([options.program, directory], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines():
            parts = line.split("\t")
            print(line)
            if len(parts) == 4 and not line.startswith("build"):
                results.setdefault(parts[0], (int(parts[1]), float(parts[2])))

    rivals = []
    try:
        import duckdb
    except ImportError:
        duckdb = None
        print("no duckdb: pip install duckdb")
    conjunction = "year >= 20000 AND year < 70000 AND price >= 0.2::FLOAT AND price < 0.6::FLOAT AND category = 'category_0421'"
    if duckdb:
        database = duckdb.connect(":memory:", config={"threads": 1})
        frame = {"year": year, "price": price, "category": np.array(category, object), "code": np.array(code, object),
                 "title": np.array(title, object), "doc": np.array(doc, object)}
        database.execute("CREATE TABLE t AS SELECT year, price, category, code, title, doc::JSON AS doc FROM frame")

        def sql(where):
            return lambda: database.execute("SELECT count(*) FROM t WHERE " + where).fetchone()[0]

        for name, where, rounds in (
            ("year >= c", "year >= 50000", 20), ("range", "year >= 20000 AND year < 30000", 20), ("conjunction", conjunction, 20),
            ("category ==", "category = 'category_0421'", 20),
            ("category in", "category IN ('category_0421', 'category_0007', 'category_0999')", 20),
            ("arithmetic", "year::BIGINT * 2 + 1 > 100000", 10), ("like scan", "title LIKE '%zqx%'", 10),
            ("regex scan", "regexp_matches(title, 'zq+x')", 3), ("json", "CAST(json_extract(doc, '$.a.b') AS BIGINT) > 900", 5),
            ("code == (index)", "code = 'code_004321'", 20), ("title like prefix (index)", "title LIKE 'zqx%'", 20),
        ):
            rivals.append(("DuckDB " + duckdb.__version__, name, *best(sql(where), rounds)))
    fixed = np.array(category, "S13")
    rivals.append(("NumPy " + np.__version__, "year >= c", *best(lambda: int(np.count_nonzero(year >= 50000)), 20)))
    rivals.append(("NumPy " + np.__version__, "conjunction", *best(lambda: int(np.count_nonzero(
        (year >= 20000) & (year < 70000) & (price >= np.float32(0.2)) & (price < np.float32(0.6)) & (fixed == b"category_0421"))), 5)))
    print()
    bad = 0
    for system, name, found, milliseconds in rivals:
        for of in (name, "count: " + name):
            ours, our_time = results[of]
            bad += ours != found
            print("%-33s %-14s %8.3f ms, ours %8.4f ms: %7.1f times%s" %
                  (of, system, milliseconds, our_time, milliseconds / our_time, "" if ours == found else
                   "  (%d rows, ours %d)" % (found, ours)))
    for of in ("year >= c", "count: year >= c"):
        print("%-33s %-14s %8.3f ms, ours %8.4f ms: %7.2f of it" %
              (of, "memory", results["read year"][1], results[of][1], results[of][1] / results["read year"][1]))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
