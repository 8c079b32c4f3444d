"""What the machine allows, from the constants that bench/probe measured: no search of this kind is faster.

The formulas are the usual roofline ones: bytes over bandwidth, operations over their peak, random lines over the
lines a core can have in flight.
"""


def flat_single_qps(probe, rows, row_bytes, threads=1):
    """One query reads every row once."""
    gb = probe.get("read_gbs_1") if threads == 1 else probe.get("read_gbs_all")
    return gb * 1e9 / (rows * row_bytes) if gb else None


def flat_batch_qps(probe, rows, dim, threads=1):
    """A large batch is bound by multiply-adds in float32."""
    gflops = probe.get("fma_gflops_1") if threads == 1 else probe.get("fma_gflops_all")
    return gflops * 1e9 / (2.0 * rows * dim) if gflops else None


def graph_qps(probe, hops, rows_scored, row_bytes, link_bytes, rerank=0, full_bytes=0, threads=1):
    """A graph walk reads its links and the rows it scores from random places: lines over the rate of lines."""
    rate = probe.get("random_lines_per_s_1") if threads == 1 else probe.get("random_lines_per_s_all")
    if not rate:
        return None
    lines = hops * -(-link_bytes // 64) + rows_scored * -(-row_bytes // 64) + rerank * -(-full_bytes // 64)
    return rate / lines if lines else None
