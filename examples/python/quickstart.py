"""vecdb in one page: create, insert, index, search with a filter. Needs numpy for the data only."""

import sys
from pathlib import Path

import numpy as np

try:
    import vecdb
except ImportError:  # running from the source tree
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "bindings" / "python"))
    import vecdb

rng = np.random.default_rng(0)
count, dim = 10_000, 128
vectors = rng.standard_normal((count, dim)).astype(np.float32)

with vecdb.open() as db:  # vecdb.open("films.vecdb") keeps it on disk
    films = db.create_collection("films", [
        vecdb.Field("id", "INT64", primary_key=True),
        vecdb.Field("year", "INT32"),
        vecdb.Field("title", "VARCHAR", max_length=200),
        vecdb.Field("embedding", "FLOAT_VECTOR", dim=dim),
    ])
    films.insert({
        "id": np.arange(count),
        "year": 1950 + np.arange(count) % 75,
        "title": [f"Film {i}" for i in range(count)],
        "embedding": vectors,
    })
    films.create_index("embedding", "HNSW", metric_type="COSINE", M=16, efConstruction=100)
    for hit in films.search(vectors[42], limit=5, filter="year >= 1990", output_fields=["title", "year"], ef=64)[0]:
        print(f"{hit.id:6} {hit.distance:.3f}  {hit['title']} ({hit['year']})")
