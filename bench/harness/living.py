"""Workloads (c) inserting, and searching right after it, and (g) readers beside a writer."""
import os
import shutil

import numpy as np

from ..datasets import exact
from . import judge
from .curve import median
from .process import Failed

BATCHES = (1, 10, 100, 1000, 10000)


def _able(run, feature):
    """One candidate per library that can: a graph, as most use, or the first of its plans."""
    seen, out = set(), []
    for c in sorted(run.alive(), key=lambda c: not c.plan.index.startswith("HNSW")):
        if feature in c.kind.features and "insert" in c.kind.features and c.library not in seen:
            seen.add(c.library)
            out.append(c)
    return out


def inserting(run, batches=BATCHES, rows=20000, seconds=10.0, queries=100):
    """Every batch size and durability mode; libraries take turns, and a figure is the median of its rounds."""
    rows = min(rows, len(run.dataset.base))
    queries = min(queries, len(run.dataset.queries))
    turns = [(c, durability) for c in _able(run, "insert") for durability in c.kind.durability]
    out = set()
    for batch in [b for b in batches if b <= rows]:
        got = {}
        for r in range(run.rounds):
            for c, durability in turns if r % 2 == 0 else turns[::-1]:
                if (id(c), durability) in out:
                    continue
                try:
                    got.setdefault((id(c), durability), []).append(
                        insert_once(run, c, durability, batch, rows, seconds, queries))
                except Failed as e:
                    out.add((id(c), durability))
                    run.fail(c, e)
        for c, durability in turns:
            if (id(c), durability) not in out:
                row = _median_of(got[id(c), durability])
                run.sections.setdefault("insert", []).append(row)
                run.say("  insert %s %s batch %d: %s rows/s; right after: recall %.4f, p50 %.0f us" % (
                    c.name, durability, batch, format(round(row["rows_per_s"]), ","), row["after_insert"]["recall"],
                    row["after_insert"]["p50_us"]))


def _median_of(rounds):
    """Of rows with the same keys: the medians of the figures, nested ones too."""
    first = rounds[0]
    out = {}
    for key, value in first.items():
        if isinstance(value, dict) and key != "search_params":
            out[key] = _median_of([r[key] for r in rounds])
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            out[key] = median([r[key] for r in rounds])
        else:
            out[key] = value
    if "library" in first:
        out["rounds"] = len(rounds)
    return out


def insert_once(run, c, durability, batch, rows, seconds, queries):
    folder = run.folder_of(c, "insert")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    w = run.worker(c, len(os.sched_getaffinity(0)), folder=folder, pin=False)
    try:
        w.call("create", 120, do="create", durability=durability)
        reply = w.call("insert", 120 + 10 * seconds, do="insert", base=run.dataset.base_path, first=0, rows=rows,
                       batch=batch, max_s=seconds)
        n = reply["rows"]
        base = run.dataset.base[:n]
        asked = run.dataset.queries[:queries]
        k = min(run.k, n)
        _, truth = exact.knn(run.dataset.metric, base, np.asarray(asked), k)
        got = {"library": c.library, "version": c.version, "index": c.plan.index, "dataset": run.dataset.name,
               "durability": durability, "batch": batch, "rows": n, "rows_per_s": reply["rows_per_s"],
               "p50_us": reply["p50_us"], "p99_us": reply["p99_us"]}
        got["after_insert"] = _fresh(run, c, w, base, asked, truth, k, "right after insert")
        # deleted rows must not come back: the nearest of the first questions go
        victims = sorted({int(i) for i in exact.knn(run.dataset.metric, base, np.asarray(asked[:5]), 1)[0].ravel()})
        can_delete = "delete" in c.kind.features
        if can_delete:
            w.call("delete", 300, do="delete", ids=victims)
            _no_ghosts(run, c, w, asked[:5], k, victims)
        if batch >= 1000 or batch == rows:
            got["optimize_s"] = w.call("optimize", run.timeout, do="optimize")["optimize_s"]
            left = np.setdiff1d(np.arange(n), victims) if can_delete else np.arange(n)
            _, truth = exact.knn(run.dataset.metric, base[left], np.asarray(asked), k)
            got["after_optimize"] = _fresh(run, c, w, base, asked, truth, k, "after optimize")
        return got
    finally:
        w.close()
        shutil.rmtree(folder, ignore_errors=True)


def _fresh(run, c, w, base, asked, truth, k, stage):
    out = os.path.join(run.answers, "%d-fresh" % id(c))
    params = c.middle()
    reply = w.call(stage, 300 + 20 * run.point_s, do="search", params=params, queries=run.dataset.queries_path,
                   first=0, count=len(asked), k=k, batch=False, clients=1, out=out, min_s=0, max_s=run.point_s,
                   threads=1)
    n = reply["asked"]
    said = np.load(out + ".distances.npy") if reply["distances"] else None
    verdict = judge.check(run.dataset.metric, base, asked[:n], np.load(out + ".ids.npy"), said, truth[:n], k,
                          exact_claim=c.plan.exact, lossy=True)
    if verdict.faults:
        run.catch(c, verdict.faults, stage)
    return {"recall": verdict.recall, "p50_us": reply["p50_us"], "p99_us": reply["p99_us"], "qps": reply["qps"],
            "search_params": params}


def _no_ghosts(run, c, w, asked, k, victims):
    out = os.path.join(run.answers, "%d-ghost" % id(c))
    w.call("search after delete", 300, do="search", params=c.middle(), queries=run.dataset.queries_path, first=0,
           count=len(asked), k=k, batch=False, clients=1, out=out, min_s=0, max_s=run.point_s, threads=1)
    ghosts = np.isin(np.load(out + ".ids.npy"), victims).sum()
    if ghosts:
        run.catch(c, ["stale answers: %d hits on rows that were deleted before the question" % ghosts],
                  "search after delete")


def mixed(run, seconds=5.0, readers=1, batch=100, start_rows=10000):
    total = len(run.dataset.base)
    start_rows = min(start_rows, total // 2)
    got, out = {}, set()
    able = _able(run, "mixed")
    for r in range(run.rounds):
        for c in able if r % 2 == 0 else able[::-1]:
            if id(c) in out:
                continue
            try:
                got.setdefault(id(c), []).append(_mixed_once(run, c, seconds, readers, batch, start_rows, total))
            except Failed as e:
                out.add(id(c))
                run.fail(c, e)
    for c in able:
        if id(c) in out:
            continue
        row = _median_of(got[id(c)])
        run.sections.setdefault("mixed", []).append(row)
        run.say("  mixed %s: %.0f reads/s beside %.0f rows/s (alone %.0f reads/s)" % (
            c.name, row["reads_per_s"], row["rows_per_s"], row["alone_reads_per_s"]))


def _mixed_once(run, c, seconds, readers, batch, start_rows, total):
    folder = run.folder_of(c, "mixed")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    durability = c.kind.durability[-1]
    try:
        w = run.worker(c, len(os.sched_getaffinity(0)), folder=folder, pin=False)
        try:
            w.call("create", 120, do="create", durability=durability)
            w.call("insert", 600, do="insert", base=run.dataset.base_path, first=0, rows=start_rows, batch=1000,
                   max_s=300)
            reply = w.call("mixed", 120 + 10 * seconds, do="mixed", base=run.dataset.base_path, first=start_rows,
                           rows=total, queries=run.dataset.queries_path, k=run.k, batch=batch, readers=readers,
                           seconds=seconds, params=c.middle())
        finally:
            w.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    both, alone = reply["mixed"], reply["read only"]
    for error in both["errors"] + alone["errors"]:
        run.fail(c, Failed("mixed", error))
    if both["missed"]:
        run.catch(c, ["stale answers: %d of %d rows not found right after their insert returned" % (
            both["missed"], both["checked"])], "mixed")
    return {"library": c.library, "version": c.version, "index": c.plan.index, "dataset": run.dataset.name,
            "durability": durability, "readers": readers, "batch": batch, "reads_per_s": both["reads_per_s"],
            "read_p50_us": both["p50_us"], "read_p99_us": both["p99_us"], "rows_per_s": both["rows_per_s"],
            "alone_reads_per_s": alone["reads_per_s"], "alone_p50_us": alone["p50_us"],
            "alone_p99_us": alone["p99_us"]}
