"""Every cell of filtered search by itself: vecdb beside the better of the two plain plans, a scan of the rows that pass and an
unfiltered search divided by the share.  bench/grid.c measures; this keeps what it says where bench/report finds it."""
import argparse
import json
import os
import subprocess
import sys
import time

from .. import datasets
from . import machine
from .run import sidecar, write_json

ROOT = machine.ROOT
RECALL, SLOWER, TAIL = 0.95, 1.5, 3.0       # what each cell is held to: at least, at most, at most


def best_us(cell):
    return min(cell["scan_us"], cell["unfiltered_us"])


def slower(cell):
    """Our median time over the better plan's."""
    return cell["median_us"] / best_us(cell)


def tail(cell):
    """Of queries' middle times of three: what the searches themselves take, without the machine's interrupts."""
    return cell["p99_us"] / cell["median_us"]


def tail_once(cell):
    """Of all single searches, which is what a program sees."""
    return cell["p99_once_us"] / cell["median_us"]


def faults(cell):
    """What a cell is marked with; nothing is good. Every single search counts for the tail."""
    return "".join([" !recall" if cell["recall"] < RECALL else "", " !rows" if cell["fewer"] else "",
                    " !slow" if slower(cell) > SLOWER else "", " !tail" if tail_once(cell) > TAIL else ""])


def table(rows, style):
    """A line for each filter and share, a column for each k."""
    ks = sorted({r["k"] for r in rows})
    lines = {}
    for r in rows:
        lines.setdefault((r["kind"], r["share"]), {})[r["k"]] = r
    body = []
    for (kind, share), cells in lines.items():
        some = next(iter(cells.values()))
        body.append([kind, "%g %%" % (100 * share)] + [
            "%.3f  %s  %.2f  %.1f (%.1f)%s" % (cells[k]["recall"], format(round(1e6 / cells[k]["median_us"]), ","), slower(cells[k]),
                                               tail_once(cells[k]), tail(cells[k]), faults(cells[k])) if k in cells else "-" for k in ks] + [
            format(round(1e6 / some["scan_us"]), ",")])
    return style(["filter", "rows that pass"] + ["k = %d" % k for k in ks] + ["scan of the passing rows, QPS"], body)


def summary(rows):
    """The bars in one sentence each, with how many cells miss them."""
    def missed(test):
        return sum(1 for r in rows if test(r))
    return "Of %d cells %d have a recall below %g (lowest %.4f), %d have queries with fewer hits than rows that pass, %d take more " \
        "than %g times the better plan (most %.2f), %d have a 99th percentile above %g times the median (most %.1f; %d and %.1f " \
        "of queries' middle times)." % (
            len(rows), missed(lambda r: r["recall"] < RECALL), RECALL, min(r["recall"] for r in rows),
            missed(lambda r: r["fewer"]), missed(lambda r: slower(r) > SLOWER), SLOWER, max(slower(r) for r in rows),
            missed(lambda r: tail_once(r) > TAIL), TAIL, max(tail_once(r) for r in rows),
            missed(lambda r: tail(r) > TAIL), max(tail(r) for r in rows))


HOW = "Each cell: recall, QPS of the median search, its time over that of the better of the two plain plans (a scan of the rows that " \
      "pass; unfiltered search divided by the share), and the 99th percentile over the median: of all single searches and, in " \
      "brackets, of queries' middle times. Default parameters, one thread, one query at a time, the filter as text and asked for before. All " \
      "queries are asked three times over; a query's time is the middle one."


def parser():
    ap = argparse.ArgumentParser(prog="bench/cells", description=__doc__)
    ap.add_argument("datasets", nargs="*", default=["fashion-mnist"])
    ap.add_argument("--queries", type=int, default=996, help="timed in each cell")
    ap.add_argument("--checked", type=int, default=60, help="of them: compared with an exact search")
    ap.add_argument("--kinds", default=",".join(datasets.attributes.KINDS))
    ap.add_argument("--ks", default="1,10,100")
    ap.add_argument("--index", default="HNSW")
    ap.add_argument("--out", default=os.path.join(ROOT, "bench", "out"))
    return ap


def measure(program, data, a):
    """[cell], printed as they come."""
    command = [program, data.base_path, data.queries_path, "format=json", "nq=%d" % a.queries, "checked=%d" % a.checked,
               "kinds=" + a.kinds, "ks=" + a.ks, "index=" + a.index]
    if data.rows:
        command.append("rows=%d" % data.rows)
    rows = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            rows.append(dict(json.loads(line), library="vecdb", index=a.index))
            r = rows[-1]
            print("%-6s %8g %% k=%-3d recall %.4f  %8.0f QPS  %.2f x the better plan  p99 %.1f x%s" % (
                r["kind"], 100 * r["share"], r["k"], r["recall"], 1e6 / r["median_us"], slower(r), tail_once(r), faults(r)), flush=True)
    if process.returncode:
        raise RuntimeError("%s ended with %d" % (os.path.basename(program), process.returncode))
    return rows


def main(argv=None):
    a = parser().parse_args(argv)
    program = os.path.join(os.environ.get("BUILD", os.path.join(ROOT, "build")), "bench", "grid")
    if not os.path.exists(program):
        print("bench/cells: %s is not built (make bench-cells)" % program, file=sys.stderr)
        return 2
    for name in a.datasets:
        before, started, here = machine.busy_seconds(), time.time(), machine.record()
        try:
            data = datasets.load(name)
            rows = measure(program, data, a)
        except (datasets.BadFile, OSError, RuntimeError, ValueError) as e:
            print("bench/cells: %s: %s" % (name, e), file=sys.stderr)
            return 1
        took, after = time.time() - started, machine.busy_seconds()
        others = ((after[0] - before[0]) - (after[1] - before[1])) / took
        path = os.path.join(a.out, "%s-cells.json" % name.replace("@", "-"))
        write_json(path, [])
        write_json(sidecar(path), [{
            "machine": dict(here, load_at_end=machine.load(), other_cores=round(max(0, others), 2)), "probe": {},
            "settings": {"dataset": data.name, "rows": len(data.base), "dim": int(data.base.shape[1]), "metric": data.metric,
                         "k": a.ks, "threads": [1], "queries": a.queries},
            "seconds": round(took, 1), "absent": [], "failed": [], "caught": [], "notes": [], "results": [],
            "sections": {"cells": rows}}])
        print("%s: %s" % (name, summary(rows)))
    return 0
