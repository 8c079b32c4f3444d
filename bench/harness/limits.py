"""What the machine allows, from the constants that bench/probe measured: no search of this kind is faster.

The formulas are the usual roofline ones: bytes over bandwidth, operations over their peak, random lines over the
lines a core can have in flight.  What a search did is counted by the library, and the bytes that each of those things
reads are told by the index itself: {"query", "row", "exact", "hop"}, as vecdb's explain() has them.
"""

LINE = 64


def per_core(probe, name, threads):
    """A constant of the probe on one core or on all."""
    return probe.get("%s_%s" % (name, "1" if threads == 1 else "all"))


def lines(size):
    """Cache lines of something that lies anywhere; less than one where several lie side by side."""
    return -(-size // LINE) if size >= LINE else size / LINE


def flat_single_qps(probe, rows, row_bytes, threads=1):
    """One query reads every row once."""
    gb = per_core(probe, "read_gbs", threads)
    return gb * 1e9 / (rows * row_bytes) if gb else None


def flat_batch_qps(probe, rows, dim, threads=1, byte_codes=False):
    """A large batch is bound by multiply-adds, in float32 or in bytes."""
    if byte_codes:
        peak = per_core(probe, "vnni_gmacs", threads)
        return peak * 1e9 / (1.0 * rows * dim) if peak else None
    peak = per_core(probe, "fma_gflops", threads)
    return peak * 1e9 / (2.0 * rows * dim) if peak else None


def graph_qps(probe, work, reads, threads=1):
    """A walk reads its links and the rows it scores from random places: lines over the rate of lines, or bandwidth."""
    rate, gb = per_core(probe, "random_lines_per_s", threads), per_core(probe, "read_gbs", threads)
    if not rate or not gb:
        return None
    count = work["hops"] * lines(reads["hop"]) + work["rows_scored"] * lines(reads["row"]) + \
        work["reranked"] * lines(reads["exact"])
    seconds = max(count / rate, (count * LINE + reads["query"]) / (gb * 1e9))
    return 1 / seconds if seconds else None


def scan_qps(probe, work, reads, threads=1):
    """Lists, and whole collections, stream centroids and codes; rows scored again lie anywhere."""
    rate, gb = per_core(probe, "random_lines_per_s", threads), per_core(probe, "read_gbs", threads)
    if not rate or not gb:
        return None
    seconds = (reads["query"] + work["rows_scored"] * reads["row"]) / (gb * 1e9) + \
        work["reranked"] * lines(reads["exact"]) / rate
    return 1 / seconds if seconds else None


def limit_qps(probe, dim, work, threads=1, batch=False):
    """(QPS, what bounds it) for a query that did this work; None where it cannot be said.

    work: {"hops", "rows_scored", "reranked", "reads"}.  A batch reads a list once for many queries, so streams are
    bound by their arithmetic: known for rows of a byte a dimension and for floats, not for tables of codes.
    """
    reads = work.get("reads")
    if not reads:
        return None
    if reads["hop"]:
        qps, why = graph_qps(probe, work, reads, threads), "random lines"
    elif not batch:
        qps, why = scan_qps(probe, work, reads, threads), "bandwidth"
    elif dim <= reads["row"] < 2 * dim:
        qps, why = flat_batch_qps(probe, work["rows_scored"], dim, threads, True), "VNNI"
    elif reads["row"] >= 4 * dim:
        qps, why = flat_batch_qps(probe, work["rows_scored"], dim, threads), "FMA"
    else:
        return None
    return (qps, why) if qps else None
