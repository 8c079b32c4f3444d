"""The command line of bench/compare."""
import argparse
import os
import signal
import sys

from .. import adapters, datasets
from . import filtering, limits, living, machine, plots, tables
from .run import Run, parse_only, sidecar, write_json

WORKLOADS = ("search", "build", "insert", "filter", "open", "mixed", "range")


def parser():
    ap = argparse.ArgumentParser(prog="bench/compare", description=__doc__.splitlines()[0])
    ap.add_argument("--dataset", default="fashion-mnist", help="name, NAME@ROWS or file; several with ;")
    ap.add_argument("--k", type=int, default=10)
    ap.add_argument("--threads", default="1", help="threads of the search, 1 or 1,2")
    ap.add_argument("--only", help="libraries, or LIBRARY:INDEX: " + " ".join(adapters.LIBRARIES))
    ap.add_argument("--queries", type=int, default=1000, help="a round; each round asks new ones while there are any")
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--effort", choices=("quick", "normal", "full"), default="normal", help="how many indexes to build")
    ap.add_argument("--mode", choices=("single", "batch", "both"), default="both")
    ap.add_argument("--workload", default="search", help="of: %s; or all" % " ".join(WORKLOADS))
    ap.add_argument("--json", help="where to write the results")
    ap.add_argument("--plot", help="where to draw recall against QPS")
    ap.add_argument("--adapters", help="a Python module with libraries of one's own: ADAPTERS = {name: class name}")
    ap.add_argument("--timeout", type=int, default=3600, help="seconds for a build")
    ap.add_argument("--memory-limit", type=float, help="GB a library may take (default: 80 %% of the machine)")
    ap.add_argument("--point-seconds", type=float, default=4.0, help="at most this long at one setting")
    ap.add_argument("--min-seconds", type=float, default=0.25, help="at least this long at one setting")
    ap.add_argument("--build-seconds", type=float, default=120.0, help="short builds are repeated up to this long")
    ap.add_argument("--reuse", action="store_true", help="keep built indexes, and use those kept before")
    ap.add_argument("--no-probe", action="store_true", help="do not measure the machine's limits")
    ap.add_argument("--insert-rows", type=int, default=20000)
    ap.add_argument("--seconds", type=float, default=10.0, help="of one insert or mixed measurement")
    ap.add_argument("--batches", default="1,10,100,1000,10000", help="rows of one insert")
    ap.add_argument("--settings", type=int, default=3, help="search settings of a filtered search, spread evenly")
    ap.add_argument("--thin", type=int, default=1, help="take every so-manyth setting of each sweep")
    ap.add_argument("--filter-kinds", default="all")
    ap.add_argument("--filter-shares", default="all", help="passing shares, as 0.01,0.1")
    return ap


def usage(message):
    print("bench/compare: " + message, file=sys.stderr)
    return 2


def _stop(signum, frame):
    raise KeyboardInterrupt


def main(argv=None):
    try:
        # told to end, as the suite does when it is stopped: the libraries are closed on the way out
        signal.signal(signal.SIGTERM, _stop)
    except ValueError:
        pass        # not the main thread: a test
    a = parser().parse_args(argv)
    try:
        if a.adapters:
            adapters.plug(a.adapters)
        only = parse_only(a.only) if a.only else None
        threads = [int(t) for t in a.threads.split(",")]
        workloads = list(WORKLOADS) if a.workload == "all" else a.workload.split(",")
        shares = None if a.filter_shares == "all" else [float(s) for s in a.filter_shares.split(",")]
        batches = [int(b) for b in a.batches.split(",")]
    except (ValueError, ImportError) as e:
        return usage(str(e))
    cores = len(os.sched_getaffinity(0))
    if min(threads) < 1 or max(threads) > cores:
        return usage("--threads %s: this machine has %d cores" % (a.threads, cores))
    if min(a.k, a.queries, a.rounds, a.settings, a.thin, *batches) < 1:
        return usage("--k, --queries, --rounds, --settings, --thin and --batches must be at least 1")
    for w in workloads:
        if w not in WORKLOADS:
            return usage("unknown workload %s (known: %s)" % (w, " ".join(WORKLOADS)))
    kinds = datasets.attributes.KINDS if a.filter_kinds == "all" else a.filter_kinds.split(",")
    for kind in kinds:
        if kind not in datasets.attributes.KINDS:
            return usage("unknown filter kind %s (known: %s)" % (kind, " ".join(datasets.attributes.KINDS)))
    if shares is not None and not set(shares) <= set(datasets.attributes.SELECTIVITIES):
        return usage("--filter-shares: of %s" % " ".join(map(str, datasets.attributes.SELECTIVITIES)))

    probe = {} if a.no_probe else machine.probe()
    if probe.get("missing"):
        print("bench/compare: limits unknown: " + probe["missing"])
    status, records = 0, []
    for spec in a.dataset.split(";"):
        try:
            data = datasets.load(spec)
            if a.k > len(data.base):
                raise datasets.BadFile("%s: --k %d of %d rows" % (data.name, a.k, len(data.base)))
        except (datasets.BadFile, OSError, MemoryError) as e:
            # named, and the next data set goes on
            print("bench/compare: data set left out: %s" % e, file=sys.stderr)
            records.append({"dataset": spec, "missing": str(e)})
            status = 1
            continue
        records.append(compare_one(data, a, only, threads, workloads, kinds, shares, batches, probe))
        # written before anything else can go wrong
        if a.json:
            save(a.json, records)
        show(records[-1])
    if a.json:
        save(a.json, records)
    if a.plot:
        draw(a.plot, records)
    if not any(r.get("results") or r.get("sections") for r in records):
        return status or 1
    return status


def save(path, records):
    write_json(path, [row for r in records for row in r.get("results", [])])
    write_json(sidecar(path), records)


def draw(path, records):
    good = [r for r in records if r.get("results")]
    for r in good:
        # one picture each; the first has the name that was asked for
        stem, ext = os.path.splitext(path)
        name = path if len(good) == 1 else "%s-%s%s" % (stem, r["settings"]["dataset"].replace("/", "_"), ext)
        os.makedirs(os.path.dirname(os.path.abspath(name)), exist_ok=True)
        try:
            if plots.recall_qps(r["results"], name, "%s, recall@%d" % (r["settings"]["dataset"], r["settings"]["k"])):
                print("wrote %s" % name)
        except ImportError as e:
            print("bench/compare: no picture: %s (make bench-setup)" % e, file=sys.stderr)


def compare_one(data, a, only, threads, workloads, kinds, shares, batches, probe):
    print("== %s: %d x %d, %s, k=%d; load %s" % (data.name, *data.base.shape, data.metric, a.k,
                                                " ".join(map(str, machine.load()))))
    run = Run(data, a.k, threads, a.queries, a.rounds, a.effort, a.timeout,
              int(a.memory_limit * 1e9) if a.memory_limit else None, a.point_seconds, a.min_seconds,
              a.build_seconds, thin=a.thin, reuse=a.reuse)
    run.probe = probe
    try:
        run.choose(only)
        if {"search", "build", "open", "range"} & set(workloads):
            run.build_all(repeats=3 if "build" in workloads else 1)
            if "search" in workloads:
                run.search({"single": (False,), "batch": (True,), "both": (False, True)}[a.mode])
            if "open" in workloads:
                run.opening()
            if "range" in workloads:
                filtering.ranges(run, min(100, a.queries))
            for c in run.candidates:
                run.drop(c)
        if "filter" in workloads:
            filters(run, kinds, shares or datasets.attributes.SELECTIVITIES, min(100, a.queries), a.settings, only)
        if "insert" in workloads:
            living.inserting(run, batches, a.insert_rows, a.seconds, min(100, a.queries))
        if "mixed" in workloads:
            living.mixed(run, a.seconds)
    finally:
        run.close()
    return run.record()


def filters(run, kinds, shares, queries, settings, only):
    """Filters need the columns inside the index, so these are builds of their own."""
    run2 = Run(run.dataset, run.k, [1], run.queries, run.rounds, run.effort, run.timeout, run.memory_limit,
               run.point_s, run.min_s, run.build_s, run.thin, run.reuse)
    run2.choose(only)
    run2.absent = []
    run2.candidates = [c for c in run2.candidates if "filter" in c.kind.features]
    try:
        run2.build_all(columns=True)
        filtering.filtered(run2, kinds, shares, queries, settings)
    finally:
        run2.close()
    run.sections["filter"] = run2.sections.get("filter", [])
    run.failed += run2.failed
    run.caught += run2.caught


def show(record):
    """The summary on the terminal."""
    rows = record["results"]
    for threads, batched in sorted({(r["threads"], r["batch"] > 1) for r in rows}):
        print("\n%s, %d thread%s, %s, recall@%d" % (
            record["settings"]["dataset"], threads, "s" if threads > 1 else "",
            "batched" if batched else "one query at a time", record["settings"]["k"]))
        print(tables.search_table(rows, threads, batched, record["caught"]))
    for line in flat_lines(record):
        print(line)
    table = tables.limit_table(record)
    if table:
        print("\nAgainst the machine's limit for the work that was done\n" + table)
    for title, table in tables.section_tables(record["sections"]):
        print("\n%s, %s\n%s" % (title, record["settings"]["dataset"], table))
    for kind in ("absent", "failed", "caught"):
        for entry in record[kind]:
            where = entry["library"] + (":" + entry["index"] if "index" in entry else "")
            print("%s %s: %s" % (kind, where, entry.get("fault") or " ".join(
                s for s in (entry.get("stage"), entry["reason"]) if s)))
    print("took %.0f s" % record["seconds"])


def flat_lines(record):
    """Exact search against the machine's limits and against NumPy in the same run."""
    rows, probe, s = record["results"], record["probe"], record["settings"]
    flat = {(r["library"], r["threads"], r["batch"] > 1): r for r in rows if r["index"] == "FLAT"}
    told = {w["library"]: w["reads"] for w in record["sections"].get("work", []) if w["index"] == "FLAT" and "reads" in w}
    out = []
    for (library, threads, batched), r in flat.items():
        if library == "numpy":
            continue
        cores = "%d thread%s" % (threads, "s" if threads > 1 else "")
        # what an index keeps of a row may be less than its floats, and it tells
        row_bytes = told[library]["row"] if library in told else 4 * s["dim"]
        if not batched:
            limit = limits.flat_single_qps(probe, s["rows"], row_bytes, threads)
            if limit:
                out.append("%s FLAT, one query at a time, %s: %s QPS = %.0f %% of the limit %s QPS (%.1f GB/s / (%d rows x "
                           "%d bytes))" % (library, cores, tables.number(r["qps"]), 100 * r["qps"] / limit,
                                           tables.number(limit), limit * s["rows"] * row_bytes / 1e9, s["rows"], row_bytes))
            continue
        text = "%s FLAT, batch of %d, %s: %s QPS" % (library, r["batch"], cores, tables.number(r["qps"]))
        base = flat.get(("numpy", threads, True))
        if base:
            text += " = %.2f x NumPy+OpenBLAS (%s QPS)" % (r["qps"] / base["qps"], tables.number(base["qps"]))
        byte_codes = row_bytes < 2 * s["dim"]
        limit = limits.flat_batch_qps(probe, s["rows"], s["dim"], threads, byte_codes)
        if limit:
            text += ", %.0f %% of the %s peak" % (100 * r["qps"] / limit, "VNNI" if byte_codes else "FMA")
        out.append(text)
    if not any(lib == "vecdb" for lib, _, _ in flat) and any(lib != "numpy" for lib, _, _ in flat):
        out.append("vecdb FLAT: absent from this run")
    return out
