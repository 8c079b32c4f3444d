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


def ivf_qps(probe, lists, dim, rows_scored, code_bytes, rerank=0, full_bytes=0, threads=1):
    """Inverted lists stream the centroids and the codes of the lists probed; reranked rows lie anywhere."""
    gb = probe.get("read_gbs_1") if threads == 1 else probe.get("read_gbs_all")
    rate = probe.get("random_lines_per_s_1") if threads == 1 else probe.get("random_lines_per_s_all")
    if not gb or not rate:
        return None
    seconds = (lists * dim * 4 + rows_scored * code_bytes) / (gb * 1e9) + rerank * -(-full_bytes // 64) / rate
    return 1 / seconds if seconds else None


def code_bytes(index, build, dim):
    """Bytes a row takes in the part of an index that a search reads most."""
    if index.startswith("HNSW") or index in ("NSG", "ANNOY", "IVF_SQ8"):
        return dim          # walked on one byte a dimension
    if index == "IVF_PQ":
        return build.get("m", dim) * build.get("nbits", 8) / 8
    if index == "IVF_RABITQ":
        return dim / 8 + 12     # a bit a dimension and three factors
    return 4 * dim


def limit_qps(probe, index, build, dim, work, threads=1):
    """The limit for a query that did this work, {"hops", "rows_scored", "reranked"}."""
    each, full = code_bytes(index, build, dim), 4 * dim
    if index.startswith("IVF"):
        return ivf_qps(probe, build.get("nlist", 0), dim, work["rows_scored"], each, work["reranked"], full, threads)
    if index == "FLAT":
        return flat_single_qps(probe, work["rows_scored"], full, threads)
    links = 8 * build.get("M", 16)
    return graph_qps(probe, work["hops"], work["rows_scored"], each, links, work["reranked"], full, threads)
