"""Exact nearest neighbours, and the true distance of any answer: what recall is measured against.

Distances here are float64 and smaller is nearer for every metric: "l2" is squared Euclidean, "ip" the negated
inner product, "cosine" one minus the cosine (a zero vector has cosine 0 with everything).

A float32 product finds candidates quickly; these are measured again in float64.  A query's answer stands only if
the k-th true distance is below what the float32 error could have hidden; if not, that query is measured in
float64 against every row.
"""
import numpy as np

METRICS = ("l2", "ip", "cosine")
ROWS = 16384        # rows a block: 64 MB of products for 1000 queries
SPARE = 64          # candidates kept beyond k


def distances(metric, query, rows):
    """Float64 distances of one query to rows; the definition everything else is held to."""
    q = np.asarray(query, np.float64)
    x = np.asarray(rows, np.float64)
    if metric == "l2":
        x = x - q
        return np.einsum("ij,ij->i", x, x)
    dot = x @ q
    if metric == "ip":
        return -dot
    norm = np.sqrt(np.einsum("ij,ij->i", x, x) * (q @ q))
    return 1.0 - np.divide(dot, norm, out=np.zeros_like(dot), where=norm > 0)


def distances_of(metric, queries, base, ids):
    """True distances of answers: ids is (nq, k), -1 where there is none (its distance is inf)."""
    out = np.full(ids.shape, np.inf)
    for s in range(0, len(ids), 64):
        part = ids[s:s + 64]
        found = (part >= 0) & (part < len(base))
        q = np.asarray(queries[s:s + 64], np.float64)[:, None, :]
        x = np.asarray(base[np.where(found, part, 0).ravel()], np.float64).reshape(*part.shape, -1)
        if metric == "l2":
            d = ((x - q) ** 2).sum(2)
        else:
            d = -(x * q).sum(2)
            if metric == "cosine":
                norm = np.sqrt((x * x).sum(2) * (q * q).sum(2))
                d = 1 + np.divide(d, norm, out=np.zeros_like(d), where=norm > 0)
        out[s:s + 64] = np.where(found, d, np.inf)
    return out


def _unit(rows):
    norm = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64)).astype(np.float32)[:, None]
    return np.divide(rows, norm, out=np.zeros_like(rows), where=norm > 0)


def _candidates(metric, q, base, keep):
    """Per query the ids of the `keep` best rows by float32, their values, and the largest row norm."""
    nq, d = q.shape
    ids = np.zeros((nq, 0), np.int64)
    values = np.zeros((nq, 0), np.float32)
    limit = np.full(nq, np.inf, np.float32)
    max_norm2 = 0.0
    for s in range(0, len(base), ROWS):
        block = np.asarray(base[s:s + ROWS], np.float32)
        norm2 = np.einsum("ij,ij->i", block, block, dtype=np.float64)
        max_norm2 = max(max_norm2, float(norm2.max()))
        if metric == "cosine":
            block = _unit(block)
        g = q @ block.T
        if metric == "l2":
            g *= -2
            g += norm2.astype(np.float32)
        else:
            np.negative(g, out=g)
        # most rows of a late block are worse than what is kept already: only the others are gathered
        where_q, where_x = np.nonzero(g < limit[:, None])
        counts = np.bincount(where_q, minlength=nq)
        width = int(counts.max()) if len(counts) else 0
        if width == 0:
            continue
        slot = np.arange(len(where_q)) - np.repeat(np.cumsum(counts) - counts, counts)
        new_v = np.full((nq, width), np.inf, np.float32)
        new_i = np.full((nq, width), -1, np.int64)
        new_v[where_q, slot] = g[where_q, where_x]
        new_i[where_q, slot] = where_x + s
        values = np.concatenate([values, new_v], 1)
        ids = np.concatenate([ids, new_i], 1)
        if values.shape[1] > keep:
            best = np.argpartition(values, keep - 1, axis=1)[:, :keep]
            values = np.take_along_axis(values, best, 1)
            ids = np.take_along_axis(ids, best, 1)
            limit = values.max(1)
    return ids, values, np.sqrt(max_norm2)


def knn(metric, base, queries, k, progress=None):
    """(ids, distances) of the k nearest rows of every query; ties go to the lower row."""
    if metric not in METRICS:
        raise ValueError("metric %s (known: %s)" % (metric, " ".join(METRICS)))
    n, d = base.shape
    k = min(k, n)
    keep = min(n, k + SPARE)
    out_ids = np.empty((len(queries), k), np.int64)
    out = np.empty((len(queries), k), np.float64)
    unit = 2.0 ** -24
    for qs in range(0, len(queries), 1000):
        q = np.ascontiguousarray(queries[qs:qs + 1000], np.float32)
        ids, values, max_norm = _candidates(metric, _unit(q) if metric == "cosine" else q, base, keep)
        for j in range(len(q)):
            found = np.sort(ids[j][ids[j] >= 0])
            true = distances(metric, q[j], base[found])
            order = np.argsort(true, kind="stable")[:k]
            if keep < n:
                q_norm = float(np.linalg.norm(q[j].astype(np.float64)))
                worst = float(values[j].max())
                if metric == "l2":
                    worst += q_norm ** 2
                    error = unit * ((2 * d + 8) * max_norm * q_norm + 4 * max_norm ** 2)
                elif metric == "ip":
                    error = unit * (d + 4) * max_norm * q_norm
                else:
                    worst += 1.0
                    error = unit * (2 * d + 16)
                if not true[order[-1]] < worst - error:
                    true = np.concatenate([distances(metric, q[j], base[s:s + ROWS])
                                           for s in range(0, n, ROWS)])
                    found = np.arange(n)
                    order = np.argsort(true, kind="stable")[:k]
            out_ids[qs + j], out[qs + j] = found[order], true[order]
        if progress:
            progress(min(qs + 1000, len(queries)), len(queries))
    return out_ids, out


def within(metric, base, queries, radii):
    """For range search: per query the ids and distances of all rows with distance <= its radius."""
    found = []
    for i, query in enumerate(queries):
        ids, values = [], []
        for s in range(0, len(base), 4 * ROWS):
            block = np.asarray(base[s:s + 4 * ROWS])
            rough = _rough(metric, np.asarray(query, np.float32), np.asarray(block, np.float32))
            slack = 1e-3 * max(1.0, abs(float(radii[i])))
            near = np.nonzero(rough <= radii[i] + slack)[0]
            if len(near):
                true = distances(metric, query, block[near])
                ok = true <= radii[i]
                ids.append(near[ok] + s)
                values.append(true[ok])
        found.append((np.concatenate(ids) if ids else np.zeros(0, np.int64),
                      np.concatenate(values) if values else np.zeros(0)))
    return found


def _rough(metric, q, rows):
    dot = rows @ q
    if metric == "ip":
        return -dot
    norm2 = np.einsum("ij,ij->i", rows, rows)
    if metric == "l2":
        return norm2 - 2 * dot + q @ q
    norm = np.sqrt(norm2 * (q @ q))
    return 1 - np.divide(dot, norm, out=np.zeros_like(dot), where=norm > 0)
