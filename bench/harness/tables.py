"""The tables that a person reads, as aligned text or as Markdown."""
from . import limits
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
    lines = ["| " + " | ".join(header) + " |", "|" + "|".join(" --- " if i == 0 else " ---: " for i in
                                                             range(len(header))) + "|"]
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
    bad = {(c["library"], c["index"]) for c in caught if c["stage"] in SEARCH_STAGES}
    refs = {t: reference({k: v for k, v in by_curve.items() if k not in bad}, t) for t in TARGETS}
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


def where_behind(rows, threads, batched, caught=()):
    """[(rival, target, rival's QPS / vecdb's best QPS)] above 1, worst first; and targets vecdb does not reach."""
    by_curve = curves(rows, threads, batched)
    bad = {(c["library"], c["index"]) for c in caught if c["stage"] in SEARCH_STAGES}
    by_curve = {k: v for k, v in by_curve.items() if k not in bad}
    if not any(lib == "vecdb" for lib, _ in by_curve):
        return None
    out = []
    for t in TARGETS:
        _, ours = reference(by_curve, t)
        for (library, index), points in by_curve.items():
            q = qps_at(points, t)
            if library != "vecdb" and q and (ours is None or q > ours):
                out.append(("%s:%s" % (library, index), t, q / ours if ours else float("inf")))
    return sorted(out, key=lambda x: -x[2])


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
    if sections.get("insert"):
        out.append(("Insert, and search right after it", plain_rows(sections["insert"], [
            ("library:index", name), ("durability", "durability"), ("batch", "batch"), ("rows/s", "rows_per_s"),
            ("p99 us a batch", "p99_us"), ("recall right after", lambda r: "%.4f" % r["after_insert"]["recall"]),
            ("p50 us right after", lambda r: r["after_insert"]["p50_us"]),
            ("optimize s", lambda r: "%.2f" % r["optimize_s"] if "optimize_s" in r else "-"),
            ("p50 us after", lambda r: r.get("after_optimize", {}).get("p50_us"))], style)))
    if sections.get("filter"):
        kinds = {}
        for r in sections["filter"]:
            kinds.setdefault(r["kind"], []).append(r)
        for kind, rows in kinds.items():
            out.append(("Filtered search, %s" % kind, plain_rows(rows, [
                ("library:index", name), ("passing", lambda r: "%g %%" % (100 * r["selectivity"])),
                ("parameters", lambda r: params_text(r["search_params"])),
                ("recall", lambda r: "%.4f" % r["recall"]), ("QPS", "qps"), ("p99 us", "p99_us"),
                ("got all k", lambda r: "%.1f %%" % (100 * r["full_share"]))], style)))
    if sections.get("open"):
        out.append(("Opening, and the first query", plain_rows(sections["open"], [
            ("library:index", name), ("page cache", "cache"), ("open ms", lambda r: "%.1f" % (1e3 * r["open_s"])),
            ("first query us", "first_query_us")], style)))
    if sections.get("mixed"):
        out.append(("A reader beside a writer", plain_rows(sections["mixed"], [
            ("library:index", name), ("reads/s", "reads_per_s"), ("read p99 us", "read_p99_us"),
            ("rows/s", "rows_per_s"), ("reads/s alone", "alone_reads_per_s"),
            ("p99 us alone", "alone_p99_us")], style)))
    if sections.get("range"):
        out.append(("Range search", plain_rows(sections["range"], [
            ("library:index", name), ("about", "target"), ("parameters", lambda r: params_text(r["search_params"])),
            ("recall", lambda r: "%.4f" % r["recall"]), ("QPS", "qps"), ("p99 us", "p99_us")], style)))
    return out


def limit_table(record, style=aligned):
    """Searches whose work was counted against what the machine allows for that work; None without either."""
    probe, dim = record["probe"], record["settings"]["dim"]
    body = []
    for w in record["sections"].get("work", []):
        for r in record["results"]:
            # a batch reads a list once for many queries: that limit is another
            streams = w["index"] == "FLAT" or w["index"].startswith("IVF")
            if r["batch"] > 1 and streams:
                continue
            if all(r[key] == w[key] for key in ("library", "index", "build_params", "search_params")):
                limit = limits.limit_qps(probe, w["index"], w["build_params"], dim, w, r["threads"])
                if limit:
                    body.append(["%s:%s" % (r["library"], r["index"]), params_text(r["search_params"]), r["threads"],
                                 "batch" if r["batch"] > 1 else "single", "%.4f" % r["recall"], number(w["hops"]),
                                 number(w["rows_scored"]), number(w["reranked"]), number(r["qps"]), number(limit),
                                 "%.2f" % (r["qps"] / limit)])
    if not body:
        return None
    return style(["library:index", "parameters", "threads", "mode", "recall", "hops", "rows scored", "reranked", "QPS",
                  "limit", "ratio"], body)


def curve_edges(rows, threads, batched):
    return {k: frontier(v) for k, v in curves(rows, threads, batched).items()}
