"""docs/benchmarks.md out of the results: every sentence with a figure in it is made from the JSON."""
import argparse
import glob
import json
import os
import sys

from . import plots, tables
from .curve import TARGETS
from .run import sidecar

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUT = os.path.join(ROOT, "bench", "out")

HOW = """\
## How it is measured

Every library runs in its own process, built from its newest release with its own recommended flags. Libraries take
turns setting by setting and round by round, and each figure is the median of its rounds. A round asks questions that no
round before it asked, as far as the data set has them. Searches are pinned to as many cores as the table says; builds
have all cores and the machine to themselves. Indexes are saved, closed and opened again before they are searched.

One query at a time is each library's own Python call in a tight loop over rows converted beforehand, so the cost of
its binding is in the figure, as it is for anybody who calls it; batched is one call with all queries of the round.
Answers are taken apart after the clock stops. Recall is counted from distances that the harness computes itself in
float64 from the ids: ties at the k-th distance count whichever row is named, and a row named twice counts once. A
library that returns ids that do not exist, the same id twice, hits that a filter forbids, deleted rows, or distances
that are not those of its rows, or that answers a repeated question out of a cache, is caught and named below.

QPS at a recall is read off the frontier of each curve, between the two nearest settings, linear in log(1 - recall) and
log(QPS). Nothing is extrapolated: a curve that lies wholly above a recall gives its fastest point, and `<r` means that
the recall was not reached and r was the best. Filters on hnswlib (a Python function per candidate) and faiss (a
ready-made bitmap, its making not counted) are what those libraries offer; databases get their filter language.
Peak memory is of the building or the searching process, whichever is larger, less the harness's own copy of the data.
"""


def load(paths):
    records = []
    for path in paths:
        try:
            with open(sidecar(path)) as f:
                found = json.load(f)
        except (OSError, ValueError) as e:
            records.append({"file": os.path.relpath(path, ROOT), "missing": str(e)})
            continue
        for r in found if isinstance(found, list) else [found]:
            records.append(dict(r, file=os.path.relpath(path, ROOT)))
    return records


def machine_text(record):
    m, p = record["machine"], record.get("probe") or {}
    lines = ["| | |", "| --- | --- |"]

    def row(name, value):
        if value not in (None, "", []):
            lines.append("| %s | %s |" % (name, value))
    row("Date", m["date"])
    row("Commit", "%s%s" % (m["commit"], " with local changes" if m.get("dirty") else ""))
    row("CPU", "%s, %d cores" % (m["cpu"], m["cores"]))
    row("Instruction sets", " ".join(m["instruction_sets"]))
    row("Caches", ", ".join("%s %s" % kv for kv in m["caches"].items()))
    row("Memory", "%.0f GB, transparent huge pages: %s" % (m["memory_bytes"] / 1e9, m["transparent_huge_pages"]))
    row("System", "%s, kernel %s" % (m["system"], m["kernel"]))
    row("Compiler, Python", "%s; %s" % (m["compiler"], m["python"]))
    row("Load average", "%s at the start, %s at the end" % (
        " ".join(map(str, m["load_at_start"])), " ".join(map(str, m.get("load_at_end", [])))))
    if p.get("missing"):
        row("Limits", p["missing"])
    elif p:
        row("Read bandwidth", "%.1f GB/s on one core, %.1f on all" % (p["read_gbs_1"], p["read_gbs_all"]))
        row("Random lines", "%.0f ns each; %.0f million/s with prefetch on one core, %.0f on all" % (
            p["latency_ns"], p["random_lines_per_s_1"] / 1e6, p["random_lines_per_s_all"] / 1e6))
        row("Arithmetic", "%.0f GFLOP/s FMA float32 and %.0f G multiply-adds/s VNNI on one core" % (
            p["fma_gflops_1"], p["vnni_gmacs_1"]))
    return "\n".join(lines)


def versions(records):
    seen = {}
    for r in records:
        for row in r.get("results", []):
            seen[row["library"]] = row["version"]
    return ", ".join("%s %s" % kv for kv in sorted(seen.items()))


def behind_text(records):
    """Where vecdb loses, in plain words."""
    parts, compared = [], False
    for r in records:
        rows = r.get("results") or []
        for threads, batched in sorted({(x["threads"], x["batch"] > 1) for x in rows}):
            behind = tables.where_behind(rows, threads, batched, r["caught"])
            if behind is None:
                continue
            compared = True
            mode = "%s, %d thread%s, %s" % (r["settings"]["dataset"], threads, "s" if threads > 1 else "",
                                            "batched" if batched else "one query at a time")
            for target in TARGETS:
                here = [b for b in behind if b[1] == target]
                if not here:
                    continue
                if here[0][2] == float("inf"):
                    parts.append("on %s vecdb does not reach recall %g, %s do" % (
                        mode, target, ", ".join(b[0] for b in here)))
                else:
                    parts.append("on %s at recall %g behind %s" % (mode, target, ", ".join(
                        "%s (%.2f times as fast)" % (b[0], b[2]) for b in here)))
    parts += behind_elsewhere(records)
    if not compared and not parts:
        return "vecdb was not in these runs, so nothing can be said of where it loses."
    if not parts:
        return "In these runs no rival was faster than vecdb's best index at recall 0.90, 0.95, 0.99 or 0.999."
    return "vecdb is slower than a rival " + "; ".join(parts) + "."


def behind_elsewhere(records):
    """Filters, inserts, opening: the best rival against vecdb, where it is ahead."""
    parts = []
    for r in records:
        sections = r.get("sections", {})
        best = {}
        for row in sections.get("filter", []):
            key = (row["kind"], row["selectivity"])
            # an answer below 0.95 is not the same question answered faster
            if row["recall"] >= 0.95:
                side = best.setdefault(key, {})
                if row["qps"] > side.get(row["library"], (0, ""))[0]:
                    side[row["library"]] = (row["qps"], row["index"])
        for (kind, share), side in best.items():
            ours = side.pop("vecdb", (0, ""))[0]
            if ours:
                ahead = [(lib, q / ours) for lib, (q, _) in side.items() if q > ours]
                if ahead:
                    parts.append("filtering %s at %g %% (recall 0.95 and more) on %s, behind %s" % (
                        kind, share * 100, r["settings"]["dataset"],
                        ", ".join("%s (%.2f times)" % a for a in sorted(ahead, key=lambda a: -a[1]))))
        rates = {}
        for row in sections.get("insert", []):
            side = rates.setdefault((row["durability"], row["batch"]), {})
            side[row["library"]] = max(side.get(row["library"], 0), row["rows_per_s"])
        for (durability, batch), side in rates.items():
            ours = side.pop("vecdb", 0)
            ahead = [(lib, q / ours) for lib, q in side.items() if ours and q > ours]
            if ahead:
                parts.append("inserting %d at a time with durability %s, behind %s" % (
                    batch, durability, ", ".join("%s (%.2f times)" % a for a in sorted(ahead, key=lambda a: -a[1]))))
    return parts


def flat_text(record):
    from .main import flat_lines
    return "".join("- %s\n" % line for line in flat_lines(record))


def page(records, pictures):
    good = [r for r in records if "machine" in r]
    out = ["# Benchmarks", "", "Made by `bench/report` from `bench/out`; `make bench-full` measures it all again.", ""]
    if not good:
        return "\n".join(out + ["There are no results yet: run `make bench` or `make bench-full`.", ""])
    out += ["## Where vecdb loses", "", behind_text(good), "", "## The machine", "", machine_text(good[0]), ""]
    known = versions(good)
    if known:
        out += ["Versions: " + known + ".", ""]
    others = sorted({(r["machine"]["commit"], r["machine"]["cpu"]) for r in good})
    if len(others) > 1:
        out += ["The runs below are not all of one commit and machine: " +
                "; ".join("%s on %s" % o for o in others) + ".", ""]
    out += [HOW]
    for r in good:
        rows, s = r["results"], r["settings"]
        out += ["## %s, %d x %d, %s, k=%d" % (s["dataset"], s["rows"], s["dim"], s["metric"], s["k"]), "",
                "From `%s`, %d s, load %s to %s." % (r["file"], r["seconds"], r["machine"]["load_at_start"][0],
                                                    r["machine"]["load_at_end"][0]), ""]
        picture = pictures.get(r["file"] + s["dataset"])
        if picture:
            out += ["![recall against QPS](%s)" % picture, ""]
        for threads, batched in sorted({(x["threads"], x["batch"] > 1) for x in rows}):
            out += ["### %d thread%s, %s" % (threads, "s" if threads > 1 else "",
                                            "batched" if batched else "one query at a time"), "",
                    tables.search_table(rows, threads, batched, r["caught"], tables.markdown), ""]
        flat = flat_text(r)
        if flat:
            out += ["### Exact search against the limits", "", flat]
        against = tables.limit_table(r, tables.markdown)
        if against:
            out += ["### Against the machine's limit for the work that was done", "",
                    "Work is what the library counts itself; the limit is its cache lines over the lines a second that "
                    "the machine fetches (graphs), or its bytes over the read bandwidth (lists and scans). Data that "
                    "stays in the caches can beat it.", "", against, ""]
        for title, table in tables.section_tables(r["sections"], tables.markdown):
            out += ["### " + title, "", table, ""]
    out += ["## Absent, failed, caught", ""]
    lines = []
    for r in records:
        if "missing" in r:
            lines.append("- data set or file left out: %s: %s" % (r.get("dataset", r.get("file")), r["missing"]))
            continue
        for kind in ("absent", "failed", "caught"):
            for e in r[kind]:
                where = e["library"] + (":" + e["index"] if "index" in e else "")
                what = e.get("fault") or ": ".join(x for x in (e.get("stage"), e["reason"]) if x)
                lines.append("- %s: %s%s: %s" % (kind, where, " on " + e["dataset"] if "dataset" in e else "", what))
    out += sorted(set(lines)) or ["Nobody."]
    return "\n".join(out) + "\n"


def main(argv=None):
    ap = argparse.ArgumentParser(prog="bench/report", description=__doc__)
    ap.add_argument("files", nargs="*")
    ap.add_argument("--output", default=os.path.join(ROOT, "docs", "benchmarks.md"))
    a = ap.parse_args(argv)
    files = a.files
    if not files:
        for pattern in (os.path.join(OUT, "full", "*.json"), os.path.join(OUT, "*.json")):
            files = [f for f in sorted(glob.glob(pattern))
                     if not f.endswith((".run.json", "state.json"))]
            if files:
                break
    records = load(files)
    folder = os.path.splitext(a.output)[0]
    pictures = {}
    for r in records:
        if r.get("results"):
            os.makedirs(folder, exist_ok=True)
            stem = os.path.splitext(os.path.basename(r["file"]))[0]
            dataset = "".join(c if c.isalnum() or c in "-_@" else "_" for c in r["settings"]["dataset"])
            name = stem if stem.startswith(dataset) else "%s-%s" % (stem, dataset)
            try:
                plots.recall_qps(r["results"], os.path.join(folder, name + ".png"),
                                 "%s, recall@%d" % (r["settings"]["dataset"], r["settings"]["k"]))
                pictures[r["file"] + r["settings"]["dataset"]] = "%s/%s.png" % (os.path.basename(folder), name)
            except ImportError:
                pass
    os.makedirs(os.path.dirname(os.path.abspath(a.output)), exist_ok=True)
    with open(a.output, "w") as f:
        f.write(page(records, pictures))
    print("wrote %s from %d result file%s" % (os.path.relpath(a.output), len(files), "" if len(files) == 1 else "s"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
