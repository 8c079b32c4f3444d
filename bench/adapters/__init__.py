"""The libraries that can be compared, by name; a module is imported only in the process that runs it."""
import importlib

# library -> (module, class, bench/setup's name for it or None when it needs no installing); a module with a dot in it
# is one from elsewhere (plug), none at all is a rival that has no release to write an adapter for
LIBRARIES = {
    "vecdb": ("vecdb_adapter", "Vecdb", None),
    "numpy": ("numpy_adapter", "Numpy", None),
    "hnswlib": ("hnswlib_adapter", "Hnswlib", "hnswlib"),
    "faiss": ("faiss_adapter", "Faiss", "faiss"),
    "usearch": ("usearch_adapter", "Usearch", "usearch"),
    "rabitqlib": ("rabitqlib_adapter", "Rabitqlib", "rabitqlib"),
    "svs": ("svs_adapter", "Svs", "svs"),
    "scann": ("scann_adapter", "Scann", "scann"),
    "ngt": ("ngt_adapter", "Ngt", "ngt"),
    "vsag": ("vsag_adapter", "Vsag", "vsag"),
    "voyager": ("voyager_adapter", "Voyager", "voyager"),
    "annoy": ("annoy_adapter", "Annoy", "annoy"),
    "zvec": ("zvec_adapter", "Zvec", "zvec"),
    "milvus-lite": ("milvus_adapter", "MilvusLite", "milvus-lite"),
    "chroma": ("chroma_adapter", "Chroma", "chroma"),
    "lancedb": ("lancedb_adapter", "Lancedb", "lancedb"),
    "qdrant": ("qdrant_adapter", "QdrantLocal", "qdrant"),
    "qdrant-edge": ("qdrant_adapter", "QdrantEdge", "qdrant-edge"),
    "sqlite-vec": ("sqlite_adapter", "SqliteVec", "sqlite-vec"),
    "duckdb": ("duckdb_adapter", "Duckdb", "duckdb"),
    "glass": (None, None, "glass"),
}

# the ones that store, filter and change data, for the workloads about that
DATABASES = ("vecdb", "zvec", "milvus-lite", "chroma", "lancedb", "qdrant", "qdrant-edge", "sqlite-vec", "duckdb")


def adapter_class(library):
    module, name, _ = LIBRARIES[library]
    return getattr(importlib.import_module(module if "." in module else "." + module, __package__), name)


def plug(module):
    """Libraries of one's own: the module (dotted) has ADAPTERS = {name: class name}.  ValueError or ImportError."""
    if "." not in module:
        raise ValueError("--adapters %s: a dotted name, as package.module" % module)
    for library, name in getattr(importlib.import_module(module), "ADAPTERS", {}).items():
        LIBRARIES[library] = (module, name, None)
