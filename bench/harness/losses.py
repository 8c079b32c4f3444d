"""Where vecdb loses, counted from the results: every workload's questions, and the rivals that answer one better."""
from . import tables
from .curve import TARGETS

# an answer below it is not the same question answered faster
SAME_QUESTION = 0.95
# an array that is merely kept (NumPy's exact search) is built in no time: there is nothing to compare
BUILT_S = 1e-3


class Question:
    """One thing that was measured of vecdb and of a rival at least: who was better, and how many times."""

    def __init__(self, workload, where, what="as fast"):
        self.workload, self.where, self.what = workload, where, what
        self.ours, self.rivals = None, {}

    def offer(self, library, name, value):
        """A rate: the more the better; vecdb and each rival count with their best."""
        if value is None or value <= 0:
            return
        if library == "vecdb":
            self.ours = max(self.ours or 0, value)
        else:
            self.rivals[name] = max(self.rivals.get(name, 0), value)

    @property
    def fair(self):
        return bool(self.ours and self.rivals)

    def ahead(self):
        """[(rival, times)] that beat vecdb, the best first."""
        return sorted(((n, v / self.ours) for n, v in self.rivals.items() if v > self.ours), key=lambda p: -p[1])

    def text(self):
        return "%s behind %s" % (self.where, ", ".join("%s (%.2f times %s)" % (n, t, self.what) for n, t in self.ahead()))


def mode_name(dataset, threads, batched):
    return "%s, %d thread%s, %s" % (dataset, threads, "s" if threads > 1 else "",
                                    "batched" if batched else "one query at a time")


def _searches(record):
    """Questions of the curves; and, apart, recalls that vecdb does not reach where a rival does."""
    rows, caught = record.get("results") or [], record["caught"]
    questions, unreached = [], []
    for threads, batched in sorted({(x["threads"], x["batch"] > 1) for x in rows}):
        curves = tables.fair_curves(rows, threads, batched, caught)
        if not any(lib == "vecdb" for lib, _ in curves):
            continue
        mode = mode_name(record["settings"]["dataset"], threads, batched)
        for target in TARGETS:
            q = Question("Search", "on %s at recall %g" % (mode, target))
            for (library, index), points in curves.items():
                q.offer(library, "%s:%s" % (library, index), tables.qps_at(points, target))
            if q.ours is None and q.rivals:
                unreached.append("on %s vecdb does not reach recall %g, %s do" % (mode, target, ", ".join(q.rivals)))
            questions.append(q)
    return questions, unreached


def _grouped(workload, rows, key, where, rate, what="as fast"):
    """Questions from rows: key(row) tells one question from another, rate(row) is None where it does not count."""
    found = {}
    for r in rows:
        k = key(r)
        if k not in found:
            found[k] = Question(workload, where(r), what)
        found[k].offer(r["library"], "%s:%s" % (r["library"], r["index"]), rate(r))
    return list(found.values())


def family(index):
    """Indexes that are built for the same: graphs beside graphs."""
    for name, starts in (("lists", ("IVF", "TREE_AH", "SCANN")), ("exact search", ("FLAT",)),
                         ("forests", ("ANNOY", "TREES"))):
        if index.startswith(starts) and not index.startswith("IVF_HNSW"):
            return name
    return "graphs"


def _sections(record):
    sections, data = record.get("sections", {}), record["settings"]["dataset"]
    bad = {(c["library"], c["index"], c["stage"]) for c in record["caught"]}

    def rows(name, stage):
        return [r for r in sections.get(name, []) if (r["library"], r["index"], stage) not in bad]
    out = _grouped("Filtered search", rows("filter", "filtered search"), lambda r: (r["kind"], r["selectivity"]),
                   lambda r: "filtering %s at %g %% (recall %g and more) on %s" % (
                       r["kind"], 100 * r["selectivity"], SAME_QUESTION, data),
                   lambda r: r["qps"] if r["recall"] >= SAME_QUESTION else None)
    out += _grouped("Range search", rows("range", "range search"), lambda r: r["target"],
                    lambda r: "ranges of about %d rows (recall %g and more) on %s" % (r["target"], SAME_QUESTION, data),
                    lambda r: r["qps"] if r["recall"] >= SAME_QUESTION else None)
    insert = rows("insert", "right after insert")
    out += _grouped("Insert", insert, lambda r: (r["durability"], r["batch"]),
                    lambda r: "inserting %d at a time with durability %s on %s" % (r["batch"], r["durability"], data),
                    lambda r: r["rows_per_s"])
    # a slow loader has fewer rows in when its time is up, and searches those: that is not the same question
    held = {(r["durability"], r["batch"]): r["rows"] for r in insert if r["library"] == "vecdb"}
    out += _grouped("Search right after insert", insert, lambda r: (r["durability"], r["batch"]),
                    lambda r: "searching after inserts of %d with durability %s (recall %g and more, as many rows) on %s" % (
                        r["batch"], r["durability"], SAME_QUESTION, data),
                    lambda r: r["after_insert"]["qps"] if r["after_insert"]["recall"] >= SAME_QUESTION and
                    r["rows"] >= held.get((r["durability"], r["batch"]), 0) else None)
    out += _grouped("Open and first query", rows("open", "open"), lambda r: r["cache"],
                    lambda r: "opening and asking once, %s cache, on %s" % (r["cache"], data),
                    lambda r: 1 / (r["open_s"] + r["first_query_us"] / 1e6))
    mixed = rows("mixed", "mixed")
    out += _grouped("Reading beside a writer", mixed, lambda r: 0, lambda r: "reads beside a writer on %s" % data,
                    lambda r: r["reads_per_s"])
    out += _grouped("Writing beside a reader", mixed, lambda r: 0, lambda r: "writes beside a reader on %s" % data,
                    lambda r: r["rows_per_s"])
    build = sections.get("build", [])
    for workload, key, what in (("Build", "build_s", "as fast"), ("Memory of the build", "peak_rss_bytes", "less"),
                                ("Bytes on disk", "index_bytes", "less")):
        out += _grouped(workload, build, lambda r: family(r["index"]),
                        lambda r, w=workload: "%s, %s on %s" % (w.lower(), family(r["index"]), data),
                        lambda r, k=key: 1 / r[k] if r[k] and (r["build_s"] >= BUILT_S or k == "index_bytes") else None, what)
    out += _grouped("Memory loaded", sections.get("loaded", []), lambda r: family(r["index"]),
                    lambda r: "memory of searching, %s on %s" % (family(r["index"]), data),
                    lambda r: 1 / r["loaded_bytes"] if r["loaded_bytes"] else None, "less")
    return out


def questions(records):
    """(questions with vecdb and a rival in them, sentences on recalls that it does not reach)."""
    asked, unreached = [], []
    for r in records:
        mine, missed = _searches(r)
        asked += [q for q in mine + _sections(r) if q.fair]
        unreached += missed
    return asked, unreached


def _behind(asked):
    """Rows of a table: a workload, in how many of its comparisons vecdb is behind, and where furthest."""
    rows = []
    for workload in dict.fromkeys(q.workload for q in asked):
        mine = [q for q in asked if q.workload == workload]
        behind = [q for q in mine if q.ahead()]
        furthest = "-"
        if behind:
            worst = max(behind, key=lambda q: q.ahead()[0][1])
            rival, times = worst.ahead()[0]
            furthest = "%s: %s %s %.2f times %s" % (worst.where, rival, "takes" if worst.what == "less" else "is", times,
                                                   worst.what)
        rows.append([workload, "%d of %d" % (len(behind), len(mine)), furthest])
    return rows


def summary(records):
    """How often vecdb is behind, workload by workload."""
    asked, unreached = questions(records)
    if not any(x["library"] == "vecdb" for r in records
               for rows in [r.get("results") or [], *r.get("sections", {}).values()] for x in rows):
        return "vecdb was not in these runs, so nothing can be said of where it loses."
    lost = [q for q in asked if q.ahead()]
    if not lost and not unreached:
        return "In these runs no rival was faster than vecdb's best index at recall 0.90, 0.95, 0.99 or 0.999, and none " \
               "was ahead in another workload: %d comparisons." % len(asked)
    text = "Of %d comparisons in these runs vecdb is behind a rival in %d; each of them is named [below](#every-comparison-lost)." % (
        len(asked), len(lost))
    if unreached:
        text += " In %d cases a rival reaches a recall that vecdb does not." % len(unreached)
    return text + "\n\n" + tables.markdown(["workload", "behind in", "furthest"], _behind(asked))


def every(records):
    """Every comparison that vecdb loses, a line each; nothing where there is none."""
    asked, unreached = questions(records)
    lost = sorted((q for q in asked if q.ahead()), key=lambda q: (q.workload, -q.ahead()[0][1]))
    return "\n".join("- " + text for text in unreached + [q.text() for q in lost])
