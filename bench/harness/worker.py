"""The process that one library lives in.  It is told what to do over a pipe, one JSON line a command, and answers
likewise; answers to queries go to .npy files.  A library may print, crash or take all memory: it is only this one.
"""
import gc
import importlib
import json
import os
import sys
import threading
import time
import traceback

import numpy as np

from ..adapters import adapter_class
from ..adapters.base import Unsupported
from ..datasets import attributes


def status_bytes(field):
    with open("/proc/self/status") as f:
        for line in f:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    return 0


def reset_peak():
    """Linux forgets the highest resident size when told to; where it does not, the peak includes the loading."""
    try:
        with open("/proc/self/clear_refs", "w") as f:
            f.write("5")
    except OSError:
        pass


def load_rows(path, rows, first=0):
    return np.array(np.load(path, mmap_mode="r")[first:rows], np.float32, order="C")


def percentile_us(latencies, share):
    return float(np.percentile(latencies, share * 100)) / 1000.0


class Session:
    def __init__(self):
        self.adapter = None
        self.columns = None
        self.before_open = 0    # resident bytes

    # -- life

    def make(self, library, index, metric, dim, build, folder, threads, module=None):
        if module:      # tests bring adapters of their own
            self.kind = getattr(importlib.import_module(module), library)
        else:
            self.kind = adapter_class(library)
        version = self.kind.version()
        self.adapter = self.kind(index, metric, dim, build, folder, threads)
        return {"version": version}

    def fit(self, base, rows, columns=None):
        x = load_rows(base, rows)
        self.columns = self._columns(columns, len(x))
        gc.collect()
        reset_peak()
        start = time.perf_counter()
        self.adapter.fit(x, self.columns)
        build_s = time.perf_counter() - start
        start = time.perf_counter()
        self.adapter.save()
        save_s = time.perf_counter() - start
        # what the harness itself holds is not the library's
        peak = max(0, status_bytes("VmHWM") - x.nbytes)
        return {"build_s": build_s, "index_s": self.adapter.index_s, "save_s": save_s, "peak_rss_bytes": peak,
                "harness_bytes": x.nbytes}

    def _columns(self, path, n):
        if not path:
            return None
        with np.load(path) as f:
            return {k[2:]: f[k][:n] for k in f.files if k.startswith("c_")}

    def open(self, threads):
        reset_peak()
        self.before_open = status_bytes("VmRSS")
        self.adapter.threads = threads
        start = time.perf_counter()
        self.adapter.open()
        open_s = time.perf_counter() - start
        self.adapter.set_threads(threads)
        return {"open_s": open_s}

    def first_query(self, threads, queries, k, params):
        """Open and answer one query, as a program that has just started would."""
        self.adapter.threads = threads
        row = load_rows(queries, 1)
        start = time.perf_counter()
        self.adapter.open()
        open_s = time.perf_counter() - start
        self.adapter.set_threads(threads)
        self.adapter.set_query_arguments(**params)
        one = self.adapter.prepare(row)[0]
        start = time.perf_counter()
        self.adapter.query(one, k)
        return {"open_s": open_s, "first_query_us": (time.perf_counter() - start) * 1e6}

    def close(self):
        self.adapter.close()
        return {}

    def memory(self):
        return {"rss_bytes": status_bytes("VmRSS"), "peak_rss_bytes": status_bytes("VmHWM")}

    # -- searching

    def search(self, params, queries, first, count, k, batch, clients, out, min_s, max_s, threads):
        """Ask queries first..first+count; whole passes until min_s, stopping within a pass after max_s."""
        self.adapter.set_query_arguments(**params)
        rows = load_rows(queries, first + count, first)
        if batch:
            result = self._search_batch(rows, k, min_s, max_s)
        elif clients > 1:
            result = self._search_clients(rows, k, clients, min_s, max_s)
        else:
            result = self._search_single(self.adapter.prepare(rows), k, min_s, max_s)
        answers, call_s = result.pop("answers"), result["call_s"]
        start = time.perf_counter()
        ids, distances = self._collect(answers, k, batch)
        result["unpack_s"] = time.perf_counter() - start
        np.save(out + ".ids.npy", ids)
        has_distances = distances is not None
        if has_distances:
            np.save(out + ".distances.npy", distances)
        # what searching keeps in memory: not the interpreter, nor the questions
        loaded = max(0, status_bytes("VmRSS") - self.before_open - rows.nbytes)
        result.update(asked=len(ids), distances=has_distances, loaded_bytes=loaded,
                      peak_rss_bytes=status_bytes("VmHWM"), call_s=call_s)
        return result

    def _collect(self, answers, k, batch):
        adapter = self.adapter
        if batch:
            parts = [adapter.unpack_batch(raw, k) for raw in answers]
        else:
            parts = [adapter.unpack(raw, k) for raw in answers]
        if batch and len(parts) == 1:
            ids, distances = parts[0]
            return np.asarray(ids), distances
        # an answer may be short: the rest is "none"
        width = [len(i) for i, _ in parts]
        ids = np.full((len(parts), max(k, max(width, default=k))), -1, np.int64)
        said = all(d is not None for _, d in parts)
        distances = np.full(ids.shape, np.inf) if said else None
        for r, (i, d) in enumerate(parts):
            if np.asarray(i).dtype.kind == "f":
                ids = ids.astype(np.float64)
            ids[r, :len(i)] = i
            if said:
                distances[r, :len(d)] = d
        return ids, distances

    def _search_single(self, inputs, k, min_s, max_s):
        query, clock = self.adapter.query, time.perf_counter_ns
        answers, latencies = [], []
        add_answer, add_latency = answers.append, latencies.append
        limit = max_s * 1e9
        for one in inputs[:3]:      # lazy set-up inside the library is not a query
            query(one, k)
        gc.collect()
        gc.disable()
        try:
            begin = clock()
            for one in inputs:
                t = clock()
                raw = query(one, k)
                e = clock()
                add_answer(raw)
                add_latency(e - t)
                if e - begin > limit and len(answers) >= 10:
                    break
            spent = clock() - begin
            passes, total, count = 1, spent, len(answers)
            best = list(latencies)
            while total < min_s * 1e9 and passes < 50:
                again = []
                begin = clock()
                for one in inputs:
                    t = clock()
                    query(one, k)
                    again.append(clock() - t)
                total += clock() - begin
                count += len(again)
                best += again
                passes += 1
        finally:
            gc.enable()
        return {"answers": answers, "call_s": spent / 1e9, "qps": count / (total / 1e9),
                "p50_us": percentile_us(best, 0.5), "p99_us": percentile_us(best, 0.99), "passes": passes}

    def _search_clients(self, rows, k, clients, min_s, max_s):
        """Several threads of one program, each asking one query at a time."""
        inputs = self.adapter.prepare(rows)
        shares = [inputs[c::clients] for c in range(clients)]
        results = [None] * clients
        gate = threading.Barrier(clients + 1)

        def run(c):
            gate.wait()
            try:
                results[c] = self._search_single_quiet(shares[c], k, min_s, max_s)
            except Exception as e:      # handed to the caller below: a thread's own is lost
                results[c] = e
        threads = [threading.Thread(target=run, args=(c,)) for c in range(clients)]
        for t in threads:
            t.start()
        for one in inputs[:3]:
            self.adapter.query(one, k)
        gc.collect()
        gc.disable()
        try:
            gate.wait()
            for t in threads:
                t.join()
        finally:
            gc.enable()
        for r in results:
            if isinstance(r, Exception):
                raise r
        # back in the order asked, as far as every client got
        shortest = min(len(r[0]) for r in results)
        answers = [results[i % clients][0][i // clients] for i in range(shortest * clients)]
        latencies = np.concatenate([r[1] for r in results])
        return {"answers": answers, "call_s": max(r[2] for r in results), "qps": sum(r[3] for r in results),
                "p50_us": percentile_us(latencies, 0.5), "p99_us": percentile_us(latencies, 0.99), "passes": 1}

    def _search_single_quiet(self, inputs, k, min_s, max_s):
        query, clock = self.adapter.query, time.perf_counter_ns
        answers, latencies = [], []
        begin = clock()
        first = 0
        while True:
            for one in inputs:
                t = clock()
                raw = query(one, k)
                e = clock()
                latencies.append(e - t)
                if first == 0:
                    answers.append(raw)
                if e - begin > max_s * 1e9 and len(answers) >= 10:
                    break
            first = first or clock() - begin
            if clock() - begin > min_s * 1e9:
                break
        return answers, latencies, first / 1e9, len(latencies) / ((clock() - begin) / 1e9)

    def _search_batch(self, rows, k, min_s, max_s):
        adapter = self.adapter
        sample = adapter.prepare_batch(rows[:min(len(rows), 32)])
        start = time.perf_counter()
        adapter.batch_query(sample, k)
        each = (time.perf_counter() - start) / min(len(rows), 32)
        if each * len(rows) > max_s:
            rows = rows[:max(10, min(len(rows), int(max_s / each)))]
        inputs = adapter.prepare_batch(rows)
        gc.collect()
        gc.disable()
        try:
            start = time.perf_counter()
            raw = adapter.batch_query(inputs, k)
            call_s = time.perf_counter() - start
            passes, total = 1, call_s
            while total < min_s and passes < 50:
                start = time.perf_counter()
                adapter.batch_query(inputs, k)
                total += time.perf_counter() - start
                passes += 1
        finally:
            gc.enable()
        return {"answers": [raw], "call_s": call_s, "qps": passes * len(rows) / total, "p50_us": None, "p99_us": None,
                "passes": passes}

    def repeat(self, params, queries, first, count, k):
        """Seconds for new questions, and for the same again in another order with others between."""
        self.adapter.set_query_arguments(**params)
        rows = load_rows(queries, first + 2 * count, first)
        inputs = self.adapter.prepare(rows)
        fresh, others = inputs[:count], inputs[count:]
        query = self.adapter.query
        if others:
            query(others[0], k)
        start = time.perf_counter()
        for one in fresh:
            query(one, k)
        first_s = time.perf_counter() - start
        for one in others:
            query(one, k)
        order = np.random.default_rng(count).permutation(len(fresh))
        start = time.perf_counter()
        for i in order:
            query(fresh[i], k)
        return {"first_s": first_s, "again_s": time.perf_counter() - start}

    def work(self, params, queries, count, k):
        """The mean over some queries of what the library says a query costs."""
        self.adapter.set_query_arguments(**params)
        told = [self.adapter.work(one, k) for one in self.adapter.prepare(load_rows(queries, count))]
        out = {name: float(np.mean([t[name] for t in told])) for name in ("hops", "rows_scored", "reranked")}
        if "reads" in told[0]:
            out["reads"] = told[0]["reads"]
        return out

    # -- filters and ranges

    def filtered(self, params, queries, numbers, k, expression, columns, out, max_s):
        if self.columns is None:
            self.columns = self._columns(columns, None)
        expression = _tuples(expression)
        mask = attributes.passes(expression, self.columns)
        self.adapter.set_query_arguments(**params)
        start = time.perf_counter()
        self.adapter.set_filter(expression, mask)
        filter_s = time.perf_counter() - start
        rows = np.load(queries, mmap_mode="r")[np.asarray(numbers, np.int64)]
        try:
            result = self._search_single(self.adapter.prepare(rows), k, 0, max_s)
        finally:
            self.adapter.set_filter(None, None)
        ids, distances = self._collect(result.pop("answers"), k, False)
        np.save(out + ".ids.npy", ids)
        if distances is not None:
            np.save(out + ".distances.npy", distances)
        result.update(asked=len(ids), distances=distances is not None, filter_s=filter_s)
        return result

    def ranges(self, params, queries, numbers, radii, out, max_s):
        self.adapter.set_query_arguments(**params)
        rows = np.load(queries, mmap_mode="r")[np.asarray(numbers, np.int64)]
        inputs = self.adapter.prepare(rows)
        self.adapter.range_query(inputs[0], radii[0])
        raws, latencies = [], []
        begin = time.perf_counter_ns()
        for one, radius in zip(inputs, radii):
            t = time.perf_counter_ns()
            raws.append(self.adapter.range_query(one, radius))
            e = time.perf_counter_ns()
            latencies.append(e - t)
            if e - begin > max_s * 1e9 and len(raws) >= 5:
                break
        spent = (time.perf_counter_ns() - begin) / 1e9
        ids = [np.asarray(self.adapter.unpack_range(raw)[0], np.int64).ravel() for raw in raws]
        np.savez(out + ".npz", ids=np.concatenate(ids) if ids else np.zeros(0, np.int64),
                 lengths=np.array([len(i) for i in ids], np.int64))
        return {"asked": len(ids), "qps": len(ids) / spent, "p50_us": percentile_us(latencies, 0.5),
                "p99_us": percentile_us(latencies, 0.99), "call_s": spent}

    # -- collections that change

    def create(self, durability):
        self.adapter.create(durability)
        return {}

    def insert(self, base, first, rows, batch, max_s):
        """Rows first..rows in batches; stops early after max_s.  Says how many are in."""
        x = load_rows(base, rows, first)
        done, latencies = 0, []
        start = time.perf_counter()
        while done < len(x):
            part = x[done:done + batch]
            ids = np.arange(first + done, first + done + len(part))
            t = time.perf_counter_ns()
            self.adapter.insert(ids, part)
            latencies.append(time.perf_counter_ns() - t)
            done += len(part)
            if time.perf_counter() - start > max_s:
                break
        spent = time.perf_counter() - start
        return {"rows": done, "seconds": spent, "rows_per_s": done / spent, "p50_us": percentile_us(latencies, 0.5),
                "p99_us": percentile_us(latencies, 0.99)}

    def optimize(self):
        start = time.perf_counter()
        self.adapter.optimize()
        return {"optimize_s": time.perf_counter() - start}

    def delete(self, ids):
        start = time.perf_counter()
        self.adapter.delete(np.asarray(ids, np.int64))
        return {"delete_s": time.perf_counter() - start}

    def mixed(self, base, first, rows, queries, k, batch, readers, seconds, params):
        """Readers search while one writer inserts rows first..rows; then the same readers alone."""
        self.adapter.set_query_arguments(**params)
        x = load_rows(base, rows, first)
        inputs = self.adapter.prepare(load_rows(queries, 1000))
        out = {}
        for phase in ("mixed", "read only"):
            stop = threading.Event()
            latencies = [[] for _ in range(readers)]
            errors = []

            def read(r):
                i, query, clock = r * 7, self.adapter.query, time.perf_counter_ns
                try:
                    while not stop.is_set():
                        t = clock()
                        query(inputs[i % len(inputs)], k)
                        latencies[r].append(clock() - t)
                        i += 1
                except Exception as e:
                    errors.append("reader: %s: %s" % (type(e).__name__, e))
            threads = [threading.Thread(target=read, args=(r,)) for r in range(readers)]
            start = time.perf_counter()
            for t in threads:
                t.start()
            done, missed, asked = 0, 0, 0
            if phase == "mixed":
                while time.perf_counter() - start < seconds and done < len(x):
                    part = x[done:done + batch]
                    ids = np.arange(first + done, first + done + len(part))
                    self.adapter.insert(ids, part)
                    done += len(part)
                    if asked < 50:      # what has been acknowledged must be found
                        ids_found, _ = self.adapter.unpack(self.adapter.query(self.adapter.prepare(part[-1:])[0], k), k)
                        asked += 1
                        missed += int(ids[-1] not in np.asarray(ids_found))
            else:
                time.sleep(seconds)
            write_s = time.perf_counter() - start
            stop.set()
            for t in threads:
                t.join()
            all_latencies = np.concatenate([np.asarray(v) for v in latencies]) if any(latencies) else np.zeros(1)
            out[phase] = {"reads_per_s": sum(map(len, latencies)) / (time.perf_counter() - start),
                          "p50_us": percentile_us(all_latencies, 0.5), "p99_us": percentile_us(all_latencies, 0.99),
                          "rows_per_s": done / write_s, "rows": done, "checked": asked, "missed": missed,
                          "errors": errors[:3]}
        return out


def _tuples(value):
    """JSON has no tuples; filters are made of them, with lists inside."""
    if isinstance(value, list) and value and isinstance(value[0], str) and value[0] in (
            "and", "<", "<=", ">=", "in", "not in"):
        return tuple(_tuples(v) for v in value)
    return value


def main():
    commands, replies = os.fdopen(int(sys.argv[1]), "r"), os.fdopen(int(sys.argv[2]), "w")
    session = Session()
    for line in commands:
        request = json.loads(line)
        try:
            reply = getattr(session, request.pop("do"))(**request)
        except Unsupported as e:
            reply = {"unsupported": str(e)}
        except MemoryError:
            reply = {"error": "out of memory (MemoryError)"}
        except BaseException as e:
            traceback.print_exc()
            text = str(e).strip().splitlines()
            reply = {"error": "%s: %s" % (type(e).__name__, text[-1][:300] if text else "")}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
