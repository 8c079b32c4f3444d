"""Believes no library: every answer is measured again.

Recall counts the distinct rows of an answer whose true distance is at most that of the true k-th neighbour, so a
tie counts whichever row was named, and a distance that the library made up counts for nothing.
"""
import numpy as np

from ..datasets import exact

# relative, for distances a library computed in float32 over up to a few thousand dimensions
CLAIM_TOLERANCE = 2e-3
LOSSY_TOLERANCE = 0.5
# an answer cache makes the repeat of a question many times faster than the CPU's caches do
REPEAT_LIMIT = 6.0


class Verdict:
    def __init__(self):
        self.recall = 0.0
        self.full_share = 1.0   # of queries that got as many hits as there are to give
        self.faults = []        # sentences; a library with any is caught

    def as_dict(self):
        return {"recall": self.recall, "full_share": self.full_share, "faults": list(self.faults)}


def reach(true_kth):
    """The largest distance that still counts as a neighbour: the k-th, plus float64 rounding."""
    return true_kth + 1e-9 * np.maximum(1.0, np.abs(true_kth))


def check(metric, base, queries, ids, distances, truth, k, *, exact_claim=False, lossy=False, mask=None):
    """Judge answers ids (nq, k), -1 for none, against truth, the true distances (nq, >= k), inf past the last.

    distances is what the library said, or None.  mask tells the rows a filter lets pass, one array for all.
    """
    verdict = Verdict()
    ids = np.asarray(ids)
    if ids.shape != (len(queries), k):
        verdict.recall = 0.0
        verdict.faults.append("answers of shape %s to %d queries for %d each" % (ids.shape, len(queries), k))
        return verdict
    if ids.dtype.kind not in "iu":
        verdict.faults.append("ids of type %s" % ids.dtype)
        ids = ids.astype(np.int64)
    ids = ids.astype(np.int64)
    outside = ids >= len(base)
    if outside.any():
        verdict.faults.append("%d ids outside the %d rows, first %d" % (outside.sum(), len(base), ids[outside][0]))
    ids = np.where(outside, -1, ids)
    given = ids >= 0

    order = np.sort(ids, axis=1)
    twice = (order[:, 1:] == order[:, :-1]) & (order[:, 1:] >= 0)
    if twice.any():
        verdict.faults.append("the same id twice in %d of %d answers" % (twice.any(1).sum(), len(ids)))
    if mask is not None:
        bad = given & ~mask[np.where(given, ids, 0)]
        if bad.any():
            verdict.faults.append("%d hits that the filter forbids, first id %d" % (bad.sum(), ids[bad][0]))
            given &= ~bad

    true = exact.distances_of(metric, queries, base, np.where(given, ids, -1))
    limit = np.asarray(truth)[:, :k]
    wanted = np.isfinite(limit).sum(1)
    kth = np.where(wanted > 0, np.take_along_axis(limit, np.maximum(wanted - 1, 0)[:, None], 1)[:, 0], -np.inf)
    good = given & (true <= reach(kth)[:, None])
    distinct = np.array([len(np.unique(row[ok])) for row, ok in zip(ids, good)])
    possible = wanted.sum()
    # more rows than k can lie at the k-th distance: an answer holds k at most, so capped by what was wanted
    verdict.recall = float(np.minimum(distinct, wanted).sum() / possible) if possible else 1.0
    hits = np.array([len(np.unique(row[ok])) for row, ok in zip(ids, given)])
    verdict.full_share = float((hits >= wanted).mean()) if len(hits) else 1.0

    if exact_claim and verdict.recall < 0.9999:
        verdict.faults.append("promises exact answers, recall is %.4f" % verdict.recall)
    if distances is not None:
        verdict.faults += _claims(metric, queries, np.asarray(distances, np.float64), true, given, lossy)
    return verdict


def _claims(metric, queries, said, true, given, lossy):
    """Compare what the library says of a row's distance with what it is."""
    if said.shape != given.shape:
        return ["distances of shape %s" % (said.shape,)]
    if not np.isfinite(said[given]).all():
        return ["distances that are NaN or infinite"]
    if not given.any():
        return []
    # an error in proportion to the sizes that were subtracted from each other, not to what was left
    norm = np.linalg.norm(np.asarray(queries, np.float64), axis=1)[:, None]
    slack = np.broadcast_to(norm ** 2 * 0.05 if metric != "cosine" else 0.05, true.shape)
    error = np.abs(said[given] - true[given]) / (np.abs(true[given]) + slack[given])
    if lossy:
        middle = float(np.median(error))
        if middle > LOSSY_TOLERANCE:
            return ["distances that are not those of its own answers, by %.2f in the median" % middle]
        return []
    wrong = error > CLAIM_TOLERANCE
    # single stragglers of a float32 sum are let pass; made-up distances are wrong everywhere or in every row
    if wrong.mean() > 0.001:
        return ["distances that are not those of its own answers: %d of %d off, worst by %.3g" % (
            wrong.sum(), wrong.size, error.max())]
    return []


def check_ranges(metric, base, queries, answers, truth, radii, lossy=False):
    """Judge range answers, a list of (ids, distances or None) per query, against lists of true ids."""
    verdict = Verdict()
    found = possible = outside = returned = 0
    for query, (ids, _), true_ids, radius in zip(queries, answers, truth, radii):
        ids = np.asarray(ids, np.int64)
        if len(np.unique(ids)) != len(ids):
            verdict.faults.append("the same id twice in a range answer")
        ids = np.unique(ids)
        bad = (ids < 0) | (ids >= len(base))
        if bad.any():
            verdict.faults.append("ids outside the rows in a range answer")
            ids = ids[~bad]
        hit = np.isin(ids, true_ids).sum()
        true = exact.distances(metric, query, base[ids]) if len(ids) else np.zeros(0)
        # a float32 distance at the border may fall either way
        outside += int((true > radius + 1e-4 * max(1.0, abs(radius))).sum())
        found, possible, returned = found + hit, possible + len(true_ids), returned + len(ids)
    verdict.recall = found / possible if possible else 1.0
    if outside and not lossy:
        verdict.faults.append("%d of %d hits lie outside the radius" % (outside, returned))
    verdict.faults = sorted(set(verdict.faults))
    return verdict


def repeat_fault(first_s, again_s):
    """The same questions asked again, in another order, after others: caches of answers show here."""
    if again_s > 0 and first_s / again_s > REPEAT_LIMIT:
        return ["answers a repeated question %.1f times faster than a new one" % (first_s / again_s)]
    return []


def lazy_fault(call_s, unpack_s):
    if unpack_s > max(0.05, 2 * call_s):
        return ["hands out unfinished answers: reading them took %.3f s, the calls %.3f s" % (unpack_s, call_s)]
    return []
