"""Searching in a few lines: vecdb's best index of a family beside the best of every rival's, over whole data sets."""
from . import losses, tables

TARGETS = (0.95, 0.99, 0.999)
FAMILIES = ("graphs", "lists", "exact search")

HOW = "Searching over whole data sets, indexes of one family beside each other: vecdb's queries a second at a recall, and how many " \
      "times that is of the fastest rival in the same run, which is named. `make bench` and `make bench-million` measure them."


def _best(curves, target, ours):
    """(queries a second, name) of the fastest curve at a recall: vecdb's, or that of all others."""
    found = [(tables.qps_at(points, target), "%s:%s" % key) for key, points in curves.items() if (key[0] == "vecdb") == ours]
    return max((f for f in found if f[0]), default=None)


def _cell(curves, target):
    mine, rival = _best(curves, target, True), _best(curves, target, False)
    if not mine:
        return "not reached"
    if not rival:
        return "%s, no rival" % tables.number(mine[0])
    return "%s, %.2f x %s" % (tables.number(mine[0]), mine[0] / rival[0], rival[1])


def _rows(records, family):
    for record in records:
        rows = record.get("results") or []
        for threads, batched in sorted({(x["threads"], x["batch"] > 1) for x in rows}):
            curves = tables.fair_curves(rows, threads, batched, record["caught"])
            curves = {key: points for key, points in curves.items() if losses.family(key[1]) == family}
            libraries = {library for library, _ in curves}
            if "vecdb" in libraries and len(libraries) > 1:
                mode = losses.mode_name(record["settings"]["dataset"], threads, batched)
                yield ["%s, %s" % (family, mode)] + [_cell(curves, t) for t in TARGETS]


def table(records):
    """Nothing where no run has vecdb and a rival."""
    rows = [row for family in FAMILIES for row in _rows(records, family)]
    return tables.markdown(["family, set"] + ["recall %g" % t for t in TARGETS], rows) if rows else ""
