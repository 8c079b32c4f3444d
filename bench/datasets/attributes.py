"""Columns and filters for filtered search: every selectivity, with and without a tie to the vectors.

  random   the passing rows are drawn evenly
  near     the passing rows are the nearest to the query's pivot: the filter helps the graph
  far      the passing rows are the farthest from it: the graph's best candidates all fail
  range    low <= value <= high on a column that follows the data
  label    label in [...] on a VARCHAR column of unequal classes

A filter is data, ("and", f, g), ("<", column, value), ("<=", ...), (">=", ...), ("in", column, values) or
("not in", column, values), and every adapter writes it in its library's own language.
"""
import numpy as np

from . import exact

SELECTIVITIES = (0.0001, 0.001, 0.01, 0.05, 0.1, 0.3, 0.6, 0.9, 1.0)
KINDS = ("random", "near", "far", "range", "label")
SCALE = 1000000         # ranks run from 0 to SCALE - 1
PIVOTS = 4
SEED = 7

# class sizes chosen so that every selectivity is a union of classes
CLASSES = (("c0001", 0.0001), ("c001", 0.001), ("c01", 0.01), ("c05", 0.05), ("c10", 0.1), ("c30", 0.3))
REST = "rest"
LABELS = {0.0001: ["c0001"], 0.001: ["c001"], 0.01: ["c01"], 0.05: ["c05"], 0.1: ["c10"], 0.3: ["c30"],
          0.6: [REST, "c05", "c01", "c001", "c0001"],
          0.9: [REST, "c30", "c05", "c01", "c001", "c0001"],
          1.0: [REST, "c30", "c10", "c05", "c01", "c001", "c0001"]}


def _rank(values):
    """Each row's rank scaled to 0..SCALE-1; ties broken by row, so a threshold passes an exact share."""
    rank = np.empty(len(values), np.int64)
    rank[np.argsort(values, kind="stable")] = np.arange(len(values))
    return (rank * SCALE // len(values)).astype(np.int32)


def make(metric, base, queries):
    """(columns, groups): the columns by name, and for each query the pivot whose columns suit it."""
    n = len(base)
    rng = np.random.default_rng(SEED)
    columns = {"rnd": _rank(rng.random(n))}
    # a column that follows the data without being a distance: the position along one random direction
    direction = rng.standard_normal(base.shape[1]).astype(np.float32)
    columns["value"] = _rank(np.concatenate([np.asarray(base[s:s + 65536], np.float32) @ direction
                                             for s in range(0, n, 65536)]))
    label = np.full(n, REST, dtype=object)
    order, start = rng.permutation(n), 0
    for name, share in CLASSES:
        count = max(1, round(share * n))
        label[order[start:start + count]] = name
        start += count
    columns["label"] = label
    pivots = queries[:PIVOTS]
    distance = np.stack([np.concatenate([exact.distances(metric, p, base[s:s + 65536])
                                         for s in range(0, n, 65536)]) for p in pivots])
    for p in range(len(pivots)):
        columns["near%d" % p] = _rank(distance[p])
    to_pivot = np.stack([exact.distances(metric, p, queries) for p in pivots], 1)
    return columns, to_pivot.argmin(1)


def filter_of(kind, selectivity, pivot):
    share = round(selectivity * SCALE)
    if kind == "random":
        return ("<", "rnd", share)
    if kind == "near":
        return ("<", "near%d" % pivot, share)
    if kind == "far":
        return (">=", "near%d" % pivot, SCALE - share)
    if kind == "range":
        low = (SCALE - share) // 2
        return ("and", (">=", "value", low), ("<", "value", low + share))
    if kind == "label":
        return ("in", "label", LABELS[selectivity])
    raise ValueError("filter kind %s (known: %s)" % (kind, " ".join(KINDS)))


def passes(expression, columns):
    """Which rows pass, as numpy sees it."""
    op = expression[0]
    if op == "and":
        return passes(expression[1], columns) & passes(expression[2], columns)
    column, value = columns[expression[1]], expression[2]
    if op == "in":
        return np.isin(column.astype(str), value)
    if op == "not in":
        return ~np.isin(column.astype(str), value)
    return {"<": np.less, "<=": np.less_equal, ">=": np.greater_equal}[op](column, value)


def text(expression):
    """The filter in the language that Milvus, and so vecdb, reads."""
    op = expression[0]
    if op == "and":
        return "%s and %s" % (text(expression[1]), text(expression[2]))
    if op in ("in", "not in"):
        return "%s %s [%s]" % (expression[1], op, ", ".join('"%s"' % v for v in expression[2]))
    return "%s %s %d" % (expression[1], op, expression[2])


def sql(expression):
    """The filter as SQL."""
    op = expression[0]
    if op == "and":
        return "%s AND %s" % (sql(expression[1]), sql(expression[2]))
    if op in ("in", "not in"):
        return "%s %s (%s)" % (expression[1], op.upper(), ", ".join("'%s'" % v for v in expression[2]))
    return "%s %s %d" % (expression[1], op, expression[2])
