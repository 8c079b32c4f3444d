"""Queries from elsewhere: rows in Gaussian clusters, queries that are not like them.

Of the queries a quarter each have 0.1, 1, 5 and 40 times the rows' spread; half of them are normal about the origin, half lie
in a corner of the space.  Nothing that a graph learns from its rows says where the answers to such queries are.
"""
import numpy as np

SEED = 20261123
IN_CLUSTER = 40         # rows of a cluster, on average
SPREAD, INSIDE = 1.2, 0.6
SIZES = (0.1, 1, 5, 40)


def make(n, nq, dim):
    """(base, queries)."""
    rng = np.random.default_rng(SEED)
    centres = SPREAD * rng.standard_normal((n // IN_CLUSTER + 1, dim))
    base = centres[rng.integers(len(centres), size=n)] + INSIDE * rng.standard_normal((n, dim))
    number = np.arange(nq)
    size = np.array(SIZES)[number % 4][:, None]
    corner = rng.random((nq, dim)) * np.where(np.arange(dim) % 2, 1, -3)
    queries = size * np.where((number % 8 < 4)[:, None], rng.standard_normal((nq, dim)), corner)
    return base.astype(np.float32), queries.astype(np.float32)
