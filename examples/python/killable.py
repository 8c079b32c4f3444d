"""Kill this program whenever you like (kill -9, the power switch) and start it again: nothing that it said was saved is missing.

    python3 examples/python/killable.py [DIRECTORY]

It writes batches for as long as it lives. Batch b is twenty rows; batch b - 200 is deleted along the way, now and then a batch is
written again, and every so often the collection is flushed or optimized. Only when vecdb has said that a batch is saved, its
number goes to DIRECTORY.saved. When the program starts it reads that file and compares: every batch up to there must be in the
database, whole; the one that was under way when the program died must be there whole, or not at all."""

import os
import sys
from pathlib import Path

try:
    import vecdb
except ImportError:  # running from the source tree
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "bindings" / "python"))
    import vecdb

ROWS, KEPT, DIM = 20, 200, 16


def rows_of(batch):
    keys = range(batch * ROWS, (batch + 1) * ROWS)
    return {
        "id": list(keys),
        "batch": [batch] * ROWS,
        "text": [f"row {key} of batch {batch}" for key in keys],
        "v": [[key % 97 + d for d in range(DIM)] for key in keys],
    }


def check(collection, saved):
    """Compare what is there with what was said to be saved; returns the number of the next batch to write."""
    found = {}
    for row in collection.query("id >= 0", output_fields=["batch", "text", "v"]):
        key, batch = row["id"], row["batch"]
        wanted = (f"row {key} of batch {key // ROWS}", key // ROWS, [float(key % 97 + d) for d in range(DIM)])
        if (row["text"], batch, [float(x) for x in row["v"]]) != wanted:
            sys.exit(f"row {key} is not what was written: {row}")
        found[batch] = found.get(batch, 0) + 1
    for batch, rows in found.items():
        if rows != ROWS:
            sys.exit(f"batch {batch} has {rows} of its {ROWS} rows")
    lost = [batch for batch in range(max(0, saved + 1 - KEPT), saved) if batch + KEPT > saved + 1 and batch not in found]
    if saved >= 0 and saved not in found:
        lost.append(saved)
    if lost:
        sys.exit(f"LOST: batches {lost} were saved and are not there")
    back = [batch for batch in found if batch + KEPT < saved]
    if back:
        sys.exit(f"BACK: batches {back} were deleted and are there again")
    print(f"{len(found)} batches found, {saved + 1} were saved: none is missing", flush=True)
    return saved + 1


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else "killable.vecdb"
    with open(path + ".saved", "a+", encoding="ascii") as log:
        log.seek(0)
        lines = log.read().split("\n")[:-1]  # what follows the last newline was cut off
        saved = int(lines[-1]) if lines else -1
        with vecdb.open(path) as db:
            if "rows" not in db:
                db.create_collection("rows", [
                    vecdb.Field("id", "INT64", primary_key=True),
                    vecdb.Field("batch", "INT64"),
                    vecdb.Field("text", "VARCHAR", max_length=100),
                    vecdb.Field("v", "FLOAT_VECTOR", dim=DIM),
                ])
            rows = db.collection("rows")
            batch = check(rows, saved)
            rows.delete(filter=f"batch == {batch}")  # the batch that was under way begins anew
            while True:
                rows.insert(rows_of(batch))
                if batch >= KEPT:
                    rows.delete(filter=f"batch == {batch - KEPT}")
                if batch % 7 == 3:
                    rows.upsert(rows_of(batch))
                os.write(log.fileno(), f"{batch}\n".encode())  # only now: it is saved
                if batch % 50 == 49:
                    rows.flush()
                if batch % 300 == 299:
                    rows.optimize()
                    print(f"{batch + 1} batches", flush=True)
                batch += 1


if __name__ == "__main__":
    main()
