"""What `make bench-full` measures: a list of steps, each one run of bench/compare with a result file of its own.

Every step has vecdb in it, so its figures stand beside the rivals' in the same run.  Steps are small enough to be
worth redoing when one is broken off; what they build is kept for the steps after them.
"""
import json

# search curves, in groups that end in a reasonable time; glass is named so that its absence is
LIBRARIES = {
    "graphs": "vecdb:HNSW,vecdb:NSG,hnswlib,faiss:HNSW,faiss:HNSW_SQ8,faiss:NSG,usearch,voyager",
    "lists": "vecdb:FLAT,vecdb:HNSW,vecdb:IVF_FLAT,vecdb:IVF_SQ8,vecdb:IVF_PQ,vecdb:IVF_RABITQ,numpy,faiss:FLAT,"
             "faiss:IVF_FLAT,faiss:IVF_SQ8,faiss:IVF_SQ8R,faiss:IVF_PQFS,faiss:IVF_RABITQ,scann",
    "others": "vecdb:HNSW,vecdb:IVF_RABITQ,vecdb:ANNOY,rabitqlib,svs,ngt,vsag,annoy,glass",
}
DATABASES = {
    "a": "vecdb:HNSW,vecdb:FLAT,zvec,sqlite-vec,duckdb",
    "b": "vecdb:HNSW,vecdb:FLAT,milvus-lite,chroma",
    "c": "vecdb:HNSW,vecdb:FLAT,lancedb,qdrant,qdrant-edge",
}
OPENED = "vecdb:HNSW,vecdb:IVF_RABITQ,vecdb:FLAT,hnswlib,faiss:HNSW,faiss:IVF_PQFS,usearch:HNSW_F32,voyager,annoy," \
         "zvec:HNSW,milvus-lite:HNSW,chroma,lancedb:IVF_HNSW_SQ,qdrant,qdrant-edge:HNSW,sqlite-vec,duckdb"
FILTERS = "vecdb:HNSW,vecdb:IVF_FLAT,hnswlib,faiss:FLAT,faiss:HNSW,faiss:IVF_FLAT,zvec:HNSW,lancedb:IVF_HNSW_SQ," \
          "qdrant-edge:HNSW"
# the slow loaders take a million rows with their columns by the hour
FILTERS_SLOW = ",milvus-lite:HNSW,chroma,qdrant,sqlite-vec,duckdb"
RANGES = "vecdb:HNSW,vecdb:IVF_FLAT,vecdb:FLAT,faiss:FLAT,faiss:HNSW,faiss:IVF_FLAT,vsag,zvec:HNSW"
LIVING = {
    "a": "vecdb:HNSW,hnswlib,usearch:HNSW_F32,faiss:HNSW,sqlite-vec",
    "b": "vecdb:HNSW,zvec:HNSW,qdrant-edge:HNSW,lancedb:IVF_HNSW_SQ",
    "c": "vecdb:HNSW,milvus-lite:HNSW,chroma,qdrant",
}
KINDS = ("random", "near", "far", "range", "label")
DATA = ("fashion-mnist", "hog1m", "text256")
SMALL = 10000       # rows that BENCH_SCALE=small leaves of each data set


class Step:
    def __init__(self, name, arguments, seconds):
        self.name, self.arguments, self.seconds = name, arguments, seconds     # seconds: a guess, until it was run

    def __repr__(self):
        return "%s %s" % (self.name, " ".join(self.arguments))


def rows_of(text):
    """--scale or BENCH_SCALE: None for all rows; ValueError names what it cannot be."""
    if text in (None, "", "full"):
        return None
    if text == "small":
        return SMALL
    if not text.isdigit() or int(text) < 1000:
        raise ValueError("scale %s: small, full, or a number of rows from 1000" % text)
    return int(text)


def steps(scale=None, cores=1, effort="normal"):
    """The steps in the order they are run, those that matter most first.  scale: the rows left of each data set."""
    out = []
    common = ["--reuse"]
    brief = [] if scale is None else ["--queries", "200", "--min-seconds", "0.03", "--build-seconds", "4",
                                      "--timeout", "600", "--thin", "2"]
    point = "4" if scale is None else "0.4"

    def add(name, dataset, only, workload, seconds, *more, effort=effort, point=point):
        full, small = seconds
        sized = dataset if scale is None else "%s@%d" % (dataset, scale)
        out.append(Step(name, ["--dataset", sized, "--only", only, "--workload", workload, "--effort", effort,
                               "--point-seconds", point, *common, *brief, *more],
                        full if scale is None else small))

    both = ",".join(str(t) for t in (1, 2) if t <= cores)
    for data in DATA:
        big = 10 if data == "hog1m" else 1
        # at the small scale one data set shows both numbers of threads
        threads = both if scale is None or data == DATA[0] else "1"
        for group, only in LIBRARIES.items():
            add("%s-%s" % (data, group), data, only, "search,build", (1500 * big, 100), "--threads", threads)
    for data in DATA[:1] if scale else DATA[::2]:
        # end to end, through whole databases: a query is a statement, a request, a transaction
        for part, only in DATABASES.items():
            add("%s-databases-%s" % (data, part), data, only, "search,build", (1800, 120), "--threads", "1")
    for data in DATA[:1] if scale else DATA[:2]:
        for kind in KINDS:
            only = FILTERS + (FILTERS_SLOW if data == DATA[0] and (scale is None or kind == KINDS[0]) else "")
            add("%s-filter-%s" % (data, kind), data, only, "filter", (1500 if data == DATA[0] else 3600, 100),
                "--filter-kinds", kind, *([] if scale is None else ["--settings", "1"]), effort="quick",
                point="4" if scale is None else "0.2")
    for data in DATA[:2]:
        add(data + "-range", data, RANGES, "range", (600, 30))
    add("fashion-mnist-open", DATA[0], OPENED, "open", (600, 100), effort="quick")
    for part, only in LIVING.items():
        add("fashion-mnist-insert-" + part, DATA[0], only, "insert", (2400, 100),
            *([] if scale is None else ["--seconds", "0.4", "--insert-rows", "10000", "--batches", "1,100,1000"]),
            effort="quick")
    add("fashion-mnist-mixed", DATA[0], ",".join([LIVING["a"], LIVING["b"], LIVING["c"]]), "mixed", (900, 100),
        *([] if scale is None else ["--seconds", "0.7"]), effort="quick")
    return out


def quick():
    """`make bench`: [(suffix of the result file, arguments)]."""
    return [("", ["--dataset", "fashion-mnist", "--threads", "1", "--effort", "quick", "--only",
                  "vecdb,hnswlib,faiss,numpy", "--queries", "1000", "--point-seconds", "2"]),
            # exact search once more with the whole query set as one batch, as NumPy would be given it
            ("-flat", ["--dataset", "fashion-mnist", "--threads", "1", "--only", "vecdb:FLAT,numpy:FLAT,faiss:FLAT",
                       "--queries", "10000", "--mode", "batch", "--point-seconds", "30"])]


def million(scale=None):
    """`make bench-million`: the million rows, in one run; every index is built once, kept, and opened for the rounds."""
    dataset = "hog1m" if scale is None else "hog1m@%d" % scale
    return dataset.replace("@", "-"), [("", [
        "--dataset", dataset, "--threads", "1", "--effort", "quick", "--reuse", "--only",
        "vecdb:HNSW,vecdb:IVF_RABITQ,vecdb:FLAT,hnswlib,faiss:IVF_PQFS,faiss:FLAT", "--queries", "500",
        "--point-seconds", "1.5"])]


def filters():
    """`make bench-filters`: every cell of the filter grid beside the rivals, in one run a data set: {stem: arguments}."""
    common = ["--threads", "1", "--workload", "filter", "--effort", "quick", "--reuse", "--settings", "1"]
    return {
        "fashion-mnist-filters": ["--dataset", "fashion-mnist", *common, "--point-seconds", "0.3", "--only",
                                  "vecdb:HNSW,hnswlib,faiss:HNSW,zvec:HNSW,lancedb:IVF_HNSW_SQ,qdrant-edge:HNSW,"
                                  "milvus-lite:HNSW"],
        "hog1m-filters": ["--dataset", "hog1m", *common, "--point-seconds", "0.5", "--only", "vecdb:HNSW,hnswlib"],
    }


def read(path):
    """Steps of one's own: a JSON list of {"name", "arguments", "seconds"}; ValueError says what is wrong."""
    with open(path) as f:
        found = json.load(f)
    try:
        out = [Step(str(s["name"]), [str(a) for a in s["arguments"]], float(s.get("seconds", 60))) for s in found]
    except (TypeError, KeyError) as e:
        raise ValueError("%s: not a list of {name, arguments, seconds}: %s" % (path, e)) from None
    names = [s.name for s in out]
    for name in names:
        if not name or name.startswith(".") or "/" in name or names.count(name) > 1:
            raise ValueError("%s: bad or repeated step name %r" % (path, name))
    return out
