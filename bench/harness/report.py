"""docs/benchmarks.md out of the results: every sentence with a figure in it is made from the JSON."""
import argparse
import glob
import json
import os
import sys

from . import leads, losses, plan, plots, tables
from .run import sidecar
from .suite import duration

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUT = os.path.join(ROOT, "bench", "out")

HOW = """\
## How it is measured

Every library runs in its own process, built from its newest release with its own recommended flags. Libraries take
turns setting by setting and round by round, and each figure is the median of at least three rounds; builds are repeated
three times unless they are long, and the tables say how often. A round asks questions that no
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
    for name, value in probe_rows(p):
        row(name, value)
    return "\n".join(lines)


def probe_rows(p):
    """The machine's limits in words."""
    if p.get("missing"):
        return [("Limits", p["missing"])]
    if not p:
        return []
    return [("Read bandwidth", "%.1f GB/s on one core, %.1f on all" % (p["read_gbs_1"], p["read_gbs_all"])),
            ("Random lines", "%.0f ns each; %.0f million/s with prefetch on one core, %.0f on all" % (
                p["latency_ns"], p["random_lines_per_s_1"] / 1e6, p["random_lines_per_s_all"] / 1e6)),
            ("Arithmetic", "%.0f GFLOP/s FMA float32 and %.0f G multiply-adds/s VNNI on one core" % (
                p["fma_gflops_1"], p["vnni_gmacs_1"]))]


def versions(records):
    seen = {}
    for r in records:
        sections = r.get("sections", {})
        for row in r.get("results", []) + [x for name in ("build", "insert", "mixed") for x in sections.get(name, [])]:
            if row.get("version"):
                seen[row["library"]] = row["version"]
    return ", ".join("%s %s" % kv for kv in sorted(seen.items()))


def flat_text(record):
    from .main import flat_lines
    return "".join("- %s\n" % line for line in flat_lines(record))


def not_run_text(measured, scaled):
    """The steps of `make bench-full` that have no full-size result here, in plain words.

    measured: names of steps measured in full; scaled: of those measured over cut data sets, with the rows.
    """
    missing = [s for s in plan.steps(None, 2) if s.name not in measured]
    if not missing:
        return "Every step of `make bench-full` was measured over whole data sets."
    text = "Of the %d steps of `make bench-full`, %d were not run over whole data sets (about %s by the suite's own guess): " \
        "nothing here says how they would come out." % (
            len(plan.steps(None, 2)), len(missing), duration(sum(s.seconds for s in missing)))
    for rows in sorted(set(scaled.values()), reverse=True):
        text += "\n\nOnly over the first %s rows of their data sets: %s." % (format(rows, ","), ", ".join(
            "`%s`" % s.name for s in missing if scaled.get(s.name) == rows))
    nothing = ["`%s`" % s.name for s in missing if s.name not in scaled]
    return text + ("\n\nNot at all: %s." % ", ".join(nothing) if nothing else "")


def title(record):
    """What a run was about: its data set, and the step of the suite or the file."""
    s = record["settings"]
    return "%s, %d x %d, %s, k=%s: %s" % (s["dataset"], s["rows"], s["dim"], s["metric"], s["k"],
                                          os.path.splitext(os.path.basename(record["file"]))[0])


def busy(record):
    """Whether other programs wanted the cores too; in records that do not say, the lower of both loads tells."""
    m = record["machine"]
    if "other_cores" in m:
        return m["other_cores"] > 0.25
    return min(m["load_at_start"][0], m["load_at_end"][0]) > m["cores"]


def busy_text(records):
    names = ["%s%s" % (os.path.splitext(os.path.basename(r["file"]))[0], " (%.1f cores)" % r["machine"]["other_cores"]
                       if "other_cores" in r["machine"] else "") for r in records if busy(r)]
    return "Other programs kept the machine busy during these runs, so their times are longer than they would be alone " \
           "(libraries still took turns): %s." % ", ".join(names) if names else ""


def run_text(record, picture):
    """One run: its curves, limits and other workloads."""
    rows = record["results"]
    out = ["## " + title(record), "",
           "From `%s`: %s, commit %s%s, %s, load %s at the start and %s at the end%s." % (
               record["file"], record["machine"]["date"], record["machine"]["commit"],
               " with local changes" if record["machine"].get("dirty") else "", duration(record["seconds"]),
               record["machine"]["load_at_start"][0], record["machine"]["load_at_end"][0],
               ", %.1f cores taken by other programs" % record["machine"]["other_cores"]
               if busy(record) and "other_cores" in record["machine"] else ""), ""]
    if picture:
        out += ["![recall against QPS](%s)" % picture, ""]
    for threads, batched in sorted({(x["threads"], x["batch"] > 1) for x in rows}):
        out += ["### %d thread%s, %s" % (threads, "s" if threads > 1 else "",
                                        "batched" if batched else "one query at a time"), "",
                tables.search_table(rows, threads, batched, record["caught"], tables.markdown), ""]
    flat = flat_text(record)
    against = tables.limit_table(record, tables.markdown)
    if flat or against:
        out += ["### Against the machine's limits", "", "This run's probe: " + "; ".join(
            "%s: %s" % (name.lower(), value) for name, value in probe_rows(record.get("probe") or {})) + ".", ""]
    if flat:
        out += [flat]
    if against:
        out += ["Work is what the library counts itself, and the bytes are what its index says of itself. The limit is cache "
                "lines over the lines a second that the machine fetches (graphs), bytes over the read bandwidth (lists and "
                "scans, one query at a time), or multiply-adds (in batches). Data that stays in the caches can beat it. Of "
                "each curve the settings that reach recall 0.90, 0.95, 0.99 and 0.999.", "", against, ""]
    for heading, table in tables.section_tables(record["sections"], tables.markdown):
        out += ["### " + heading, "", table, ""]
    return out


def page(records, pictures, not_run=None, heading="Benchmarks"):
    good = [r for r in records if "machine" in r]
    out = ["# " + heading, "", "Made by `bench/report` from the results in `bench/out`; `make bench` and `make bench-full` "
           "measure them again.", ""]
    if not good:
        return "\n".join(out + ["There are no results yet: run `make bench` or `make bench-full`.", ""])
    whole = leads.table([r for r in good if "@" not in r["settings"]["dataset"]])
    if whole:
        out += ["## In short", "", leads.HOW, "", whole, ""]
    out += ["## Where vecdb loses", "", losses.summary(good), ""]
    if busy_text(good):
        out += [busy_text(good), ""]
    if not_run:
        out += ["## What was not run", "", not_run, ""]
    out += ["## The machine", "", machine_text(good[0]), ""]
    known = versions(good)
    if known:
        out += ["Versions: " + known + ".", ""]
    others = sorted({(r["machine"]["commit"], r["machine"]["cpu"]) for r in good})
    if len(others) > 1:
        out += ["The runs below are not all of one commit and machine: " +
                "; ".join("%s on %s" % o for o in others) + ".", ""]
    out += [HOW]
    for r in good:
        out += run_text(r, pictures.get(r["file"] + r["settings"]["dataset"]))
    if losses.every(good):
        out += ["## Every comparison lost", "", losses.every(good), ""]
    return "\n".join(out + broken_text(records)) + "\n"


def broken_text(records):
    out = ["## Absent, failed, caught", ""]
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
    return out + (sorted(set(lines)) or ["Nobody."])


def results_in(folder):
    return [f for f in sorted(glob.glob(os.path.join(folder, "*.json")))
            if not f.endswith((".run.json", os.sep + "state.json"))]


def gather(out):
    """All results there are: by themselves, of the whole suite, and of the suite over cut data sets where there is
    nothing better.  (files, names of steps measured in full, {name of a step: rows left})."""
    files, full = results_in(out), results_in(os.path.join(out, "full"))
    measured = {os.path.splitext(os.path.basename(f))[0] for f in full}
    scaled = {}
    for folder in sorted(glob.glob(os.path.join(out, "full-*")), key=lambda f: -int(f.rpartition("-")[2] or 0)
                         if f.rpartition("-")[2].isdigit() else 0):
        rows = folder.rpartition("-")[2]
        for f in results_in(folder) if rows.isdigit() else []:
            name = os.path.splitext(os.path.basename(f))[0]
            if name not in measured and name not in scaled:
                scaled[name] = int(rows)
                full.append(f)
    order = {s.name: i for i, s in enumerate(plan.steps(None, 2))}
    full.sort(key=lambda f: order.get(os.path.splitext(os.path.basename(f))[0], len(order)))
    return files + full, measured, scaled


KEPT = "results.json"


def keep(folder, records, measured, scaled):
    """What the page was made of lies beside it, so that it can be made again where nothing was measured; without the
    single rounds."""
    slim = []
    for r in records:
        if "sections" in r:
            r = dict(r, sections={k: v for k, v in r["sections"].items() if k != "search_detail"})
        slim.append(r)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, KEPT), "w") as f:
        json.dump({"measured": sorted(measured), "scaled": scaled, "records": slim}, f, separators=(",", ":"))
        f.write("\n")


def kept(folder):
    """(records, measured, scaled) that keep() wrote; no records where it did not."""
    try:
        with open(os.path.join(folder, KEPT)) as f:
            found = json.load(f)
        return found["records"], set(found["measured"]), found["scaled"]
    except (OSError, ValueError, KeyError):
        return [], set(), {}


def draw(records, folder):
    """A picture for every run with curves: {file and data set: its path beside the page}."""
    pictures = {}
    for r in records:
        if r.get("results"):
            os.makedirs(folder, exist_ok=True)
            stem = os.path.splitext(os.path.basename(r["file"]))[0]
            dataset = "".join(c if c.isalnum() or c in "-_@" else "_" for c in r["settings"]["dataset"])
            name = stem if stem.startswith(dataset.partition("@")[0]) else "%s-%s" % (stem, dataset)
            try:
                plots.recall_qps(r["results"], os.path.join(folder, name + ".png"),
                                 "%s, recall@%d" % (r["settings"]["dataset"], r["settings"]["k"]))
                pictures[r["file"] + r["settings"]["dataset"]] = "%s/%s.png" % (os.path.basename(folder), name)
            except ImportError:
                pass
    return pictures


def main(argv=None):
    ap = argparse.ArgumentParser(prog="bench/report", description=__doc__)
    ap.add_argument("files", nargs="*", help="results (default: all in bench/out)")
    ap.add_argument("--folder", help="take the results in this folder instead")
    ap.add_argument("--title", default="Benchmarks")
    ap.add_argument("--output", default=os.path.join(ROOT, "docs", "benchmarks.md"))
    a = ap.parse_args(argv)
    folder = os.path.splitext(a.output)[0]
    files = a.files or (results_in(a.folder) if a.folder else [])
    records, measured, scaled, rows = load(files), None, {}, (a.folder or "").rstrip(os.sep).rpartition("full-")[2]
    if rows.isdigit():      # of the suite over cut data sets, and nothing else
        measured, scaled = set(), {os.path.splitext(os.path.basename(f))[0]: int(rows) for f in files}
    if not files and not a.folder:
        files, measured, scaled = gather(OUT)
        records = load(files)
        if not files:
            records, measured, scaled = kept(folder)
    if not records:
        print("bench/report: no results in %s; the page is left as it is" % os.path.relpath(a.folder or OUT),
              file=sys.stderr)
        return 1
    pictures = draw(records, folder)
    os.makedirs(os.path.dirname(os.path.abspath(a.output)), exist_ok=True)
    with open(a.output, "w") as f:
        f.write(page(records, pictures, None if measured is None else not_run_text(measured, scaled), a.title))
    if measured is not None and not a.folder:
        keep(folder, records, measured, scaled)
    print("wrote %s from %s" % (os.path.relpath(a.output), "%d result file%s" % (
        len(files), "" if len(files) == 1 else "s") if files else os.path.relpath(os.path.join(folder, KEPT))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
