"""The tables that a person reads, as aligned text or as Markdown."""
from . import cells, limits
from .curve import TARGETS, frontier, qps_at

# a fault in another workload does not take away the search curve
SEARCH_STAGES = ("search", "repeated questions")


def number(x):
    if x is None:
        return "-"
    if x >= 1000:
        return format(int(round(x)), ",")
    return "%.0f" % x if x >= 100 else "%.3g" % x


def megabytes(x):
    return "-" if x is None else "%.0f" % (x / 1e6)


def aligned(header, rows):
    rows = [[str(v) for v in r] for r in rows]
    widths = [max(len(r[i]) for r in [header] + rows) for i in range(len(header))]
    lines = []
    for r in [header] + rows:
        lines.append("  ".join(v.ljust(w) if i == 0 else v.rjust(w)
                               for i, (v, w) in enumerate(zip(r, widths))).rstrip())
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join(lines)


def markdown(header, rows):
    """Names and sentences stand left, numbers right."""
    left = [i == 0 or any(len(str(r[i])) > 40 for r in rows) for i in range(len(header))]
    lines = ["| " + " | ".join(header) + " |", "|" + "|".join(" --- " if l else " ---: " for l in left) + "|"]
    return "\n".join(lines + ["| " + " | ".join(map(str, r)) + " |" for r in rows])


def curves(rows, threads, batched):
    """(library, index) -> (recall, qps) points, of one dataset's rows in one mode."""
    out = {}
    for r in rows:
        if r["threads"] == threads and (r["batch"] > 1) == batched:
            out.setdefault((r["library"], r["index"]), []).append((r["recall"], r["qps"]))
    return out


def reference(points_by_curve, target, caught=()):
    """The name and QPS that others are divided by: the best curve of vecdb, or hnswlib's when it is not there."""
    for library in ("vecdb", "hnswlib"):
        best = [qps_at(p, target) for (lib, _), p in points_by_curve.items() if lib == library]
        best = [q for q in best if q]
        if best:
            return library, max(best)
        if any(lib == library for lib, _ in points_by_curve):
            return library, None
    return None, None


def search_table(rows, threads, batched, caught=(), style=aligned):
    """Per library and index: QPS at each recall with its ratio, build seconds, memory, disk."""
    by_curve = curves(rows, threads, batched)
    fair = fair_curves(rows, threads, batched, caught)
    bad = set(by_curve) - set(fair)
    refs = {t: reference(fair, t) for t in TARGETS}
    name = next((r[0] for r in refs.values() if r[0]), None)
    header = ["library:index"] + ["QPS@%g" % t for t in TARGETS] + ["x %s" % (name or "?")] + \
             ["build s", "peak MB", "disk MB"]
    body = []
    for (library, index), points in by_curve.items():
        mine = [r for r in rows if (r["library"], r["index"]) == (library, index)]
        cells, ratios = [], []
        for t in TARGETS:
            q = qps_at(points, t)
            cells.append(number(q) if q else "<%.3f" % max(p[0] for p in points))
            ref = refs[t][1]
            ratios.append("%.2f" % (q / ref) if q and ref else "-")
        if (library, index) in bad:
            cells, ratios = ["caught"] * len(TARGETS), ["-"] * len(TARGETS)
        key = qps_at(points, 0.95) or 0
        body.append((key, ["%s:%s" % (library, index), *cells, " ".join(ratios),
                           "%.1f" % min(r["build_s"] for r in mine), megabytes(min(r["peak_rss_bytes"] for r in mine)),
                           megabytes(min(r["index_bytes"] for r in mine))]))
    body.sort(key=lambda b: -b[0])
    return style(header, [b[1] for b in body])


def fair_curves(rows, threads, batched, caught=()):
    """Curves without those that were caught."""
    bad = {(c["library"], c["index"]) for c in caught if c["stage"] in SEARCH_STAGES}
    return {k: v for k, v in curves(rows, threads, batched).items() if k not in bad}


def plain_rows(rows, columns, style=aligned):
    """A table of dicts: columns are (header, key or function)."""
    body = []
    for r in rows:
        cells = []
        for _, key in columns:
            v = key(r) if callable(key) else r.get(key)
            cells.append(v if isinstance(v, str) else number(v))
        body.append(cells)
    return style([h for h, _ in columns], body)


def params_text(params):
    return " ".join("%s=%s" % kv for kv in params.items()) or "-"


def section_tables(sections, style=aligned):
    """[(title, table)] of the workloads other than search."""
    out = []

    def name(r):
        return "%s:%s" % (r["library"], r["index"])
    if sections.get("build"):
        out.append(("Build, memory, disk", plain_rows(sections["build"], [
            ("library:index", name), ("parameters", lambda r: params_text(r["build_params"])),
            ("threads", lambda r: str(r["threads"])), ("build s", lambda r: "%.2f" % r["build_s"]),
            ("without storing rows", lambda r: "%.2f" % r["index_s"] if r.get("index_s") else "-"),
            ("of builds", lambda r: str(len(r["builds"]))), ("rows/s", "rows_per_s"),
            ("peak MB", lambda r: megabytes(r["peak_rss_bytes"])), ("disk MB", lambda r: megabytes(r["index_bytes"]))],
            style)))
    if sections.get("loaded"):
        out.append(("Memory of a process that searches, more than before it opened the index", plain_rows(sections["loaded"], [
            ("library:index", name), ("parameters", lambda r: params_text(r["build_params"])),
            ("loaded MB", lambda r: megabytes(r["loaded_bytes"])),
            ("of the float32 vectors", lambda r: "%.2f" % (r["loaded_bytes"] / r["vectors_bytes"]))], style)))
    if sections.get("insert"):
        out.append(("Insert, and search right after it", plain_rows(sections["insert"], [
            ("library:index", name), ("durability", "durability"), ("batch", "batch"), ("rows/s", "rows_per_s"),
            ("p50 us a batch", "p50_us"), ("p99 us a batch", "p99_us"), ("rows", "rows"),
            ("recall right after", lambda r: "%.4f" % r["after_insert"]["recall"]),
            ("p50 us right after", lambda r: r["after_insert"]["p50_us"]),
            ("optimize s", lambda r: "%.2f" % r["optimize_s"] if "optimize_s" in r else "-"),
            ("recall after", lambda r: "%.4f" % r["after_optimize"]["recall"] if "after_optimize" in r else "-"),
            ("p50 us after", lambda r: r.get("after_optimize", {}).get("p50_us"))], style)))
    for kind in dict.fromkeys(r["kind"] for r in sections.get("filter", [])):
        out.append(("Filtered search, %s: QPS (recall, share of queries that got all k) by the share that passes" % kind,
                    filter_grid([r for r in sections["filter"] if r["kind"] == kind], style)))
    if sections.get("cells"):
        out.append(("Filtered search, every cell", "%s %s\n\n%s" % (cells.HOW, cells.summary(sections["cells"]),
                                                                    cells.table(sections["cells"], style))))
    if sections.get("open"):
        out.append(("Opening, and the first query", plain_rows(sections["open"], [
            ("library:index", name), ("page cache", "cache"), ("open ms", lambda r: "%.1f" % (1e3 * r["open_s"])),
            ("first query us", "first_query_us")], style)))
    if sections.get("mixed"):
        out.append(("A reader beside a writer", plain_rows(sections["mixed"], [
            ("library:index", name), ("durability", lambda r: r.get("durability", "-")), ("reads/s", "reads_per_s"),
            ("read p50 us", "read_p50_us"), ("read p99 us", "read_p99_us"), ("rows/s", "rows_per_s"),
            ("reads/s alone", "alone_reads_per_s"),
            ("p99 us alone", "alone_p99_us")], style)))
    if sections.get("range"):
        out.append(("Range search", plain_rows(sections["range"], [
            ("library:index", name), ("about", "target"), ("parameters", lambda r: params_text(r["search_params"])),
            ("recall", lambda r: "%.4f" % r["recall"]), ("QPS", "qps"), ("p99 us", "p99_us")], style)))
    return out


def filter_grid(rows, style=aligned):
    """A line per library and setting, a column per share."""
    shares = sorted({r["selectivity"] for r in rows})
    lines = {}
    for r in rows:
        key = ("%s:%s" % (r["library"], r["index"]), params_text(r["search_params"]))
        lines.setdefault(key, {})[r["selectivity"]] = "%s (%.3f, %.0f %%)" % (
            number(r["qps"]), r["recall"], 100 * r["full_share"])
    return style(["library:index", "parameters"] + ["%g %%" % (100 * s) for s in shares],
                 [list(key) + [cells.get(s, "-") for s in shares] for key, cells in lines.items()])


def _at_targets(rows):
    """Of one curve the settings that just reach each recall, and the one that comes nearest where none does."""
    picked = []
    for t in TARGETS:
        reach = [r for r in rows if r["recall"] >= t]
        best = max(reach, key=lambda r: r["qps"]) if reach else max(rows, key=lambda r: r["recall"])
        if best not in picked:
            picked.append(best)
    return picked


def limit_table(record, style=aligned):
    """Searches whose work was counted against what the machine allows for that work; None without either."""
    probe, dim = record["probe"], record["settings"]["dim"]
    work = {_what(w): w for w in record["sections"].get("work", [])}
    by_curve = {}
    for r in record["results"]:
        if _what(r) in work:
            by_curve.setdefault((r["library"], r["index"], r["threads"], r["batch"] > 1), []).append(r)
    body = []
    for (library, index, threads, batched), rows in by_curve.items():
        for r in _at_targets(rows):
            w = work[_what(r)]
            found = limits.limit_qps(probe, dim, w, threads, batched)
            if found:
                reads = w["reads"]
                body.append(["%s:%s" % (library, index), params_text(r["search_params"]), threads,
                             "batch" if batched else "single", "%.4f" % r["recall"], number(w["hops"]),
                             number(w["rows_scored"]), number(w["reranked"]), "%d, %d, %d" % (
                                 reads["row"], reads["exact"], reads["hop"]), number(r["qps"]),
                             "%s (%s)" % (number(found[0]), found[1]), "%.2f" % (r["qps"] / found[0])])
    if not body:
        return None
    return style(["library:index", "parameters", "threads", "mode", "recall", "hops", "rows scored", "reranked",
                  "bytes: row, reranked, hop", "QPS", "limit", "ratio"], body)


def _what(r):
    """Tells a search setting of one index from every other."""
    return r["library"], r["index"], str(sorted(r["build_params"].items())), str(sorted(r["search_params"].items()))


def curve_edges(rows, threads, batched):
    return {k: frontier(v) for k, v in curves(rows, threads, batched).items()}
