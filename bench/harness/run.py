"""One comparison: which libraries, their builds, search and opening, with everything that went wrong written down.

filtering.py and living.py have the other workloads.
"""
import hashlib
import importlib
import json
import os
import shutil
import tempfile
import time

import numpy as np

from .. import adapters
from . import judge, machine
from .curve import median
from .process import Failed, Worker, available_memory, disk_bytes, forget_cached

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILDS = os.path.join(HERE, "out", "indexes")
SCHEMA = ("library", "version", "index", "build_params", "search_params", "dataset", "threads", "batch", "recall",
          "qps", "p50_us", "p99_us", "build_s", "peak_rss_bytes", "index_bytes", "open_s")


class Candidate:
    """A library with one index and one set of build parameters."""

    def __init__(self, library, plan, module=None):
        self.library, self.plan, self.module = library, plan, module
        self.version = None
        self.built = None           # what fit() reported, when it is built
        self.folder = None
        self.dead = None            # why it is out
        self.open_s = []
        self.peak_rss = 0
        self.loaded = 0
        self.faults = []

    @property
    def name(self):
        return "%s:%s" % (self.library, self.plan.index)

    @property
    def kind(self):
        """Its adapter's class, for what it says it can do; the library itself is only loaded in the worker."""
        if self.module:
            return getattr(importlib.import_module(self.module[0]), self.module[1])
        return adapters.adapter_class(self.library)

    def some(self, count):
        """A few settings that show the trade, spread evenly over the first sweep: those with the same parameters."""
        sweep = [s for s in self.plan.searches if set(s) == set(self.plan.searches[0])]
        n = len(sweep)
        return [sweep[i] for i in sorted({min(n - 1, (j + 1) * n // (count + 1)) for j in range(count)})]

    def middle(self):
        return self.some(1)[0]

    def __repr__(self):
        return "%s %s" % (self.name, json.dumps(self.plan.build, sort_keys=True))


def parse_only(text):
    """"hnswlib,vecdb:HNSW" to {"hnswlib": None, "vecdb": {"HNSW"}}; ValueError names what is unknown."""
    wanted = {}
    for item in text.split(","):
        library, _, index = item.strip().partition(":")
        if library not in adapters.LIBRARIES:
            raise ValueError("unknown library %s (known: %s)" % (library, " ".join(adapters.LIBRARIES)))
        if not index:
            wanted[library] = None
        elif wanted.get(library, set()) is not None:
            wanted.setdefault(library, set()).add(index.upper())
    return wanted


def installed():
    """What bench/setup found; empty before it ran."""
    try:
        with open(os.path.join(HERE, ".venv", "rivals.json")) as f:
            return json.load(f)
    except (OSError, ValueError):
        return {}


def _sweep(folder):
    """Removes the scratch files of runs that were killed."""
    for name in os.listdir(folder):
        pid = name.split("-")[1] if name.startswith("answers-") and name.count("-") > 1 else ""
        if pid.isdigit() and not os.path.exists("/proc/" + pid):
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)


class Run:
    def __init__(self, dataset, k, threads, queries, rounds=3, effort="normal", timeout=3600, memory_limit=None,
                 point_s=4.0, min_s=0.25, build_s=120.0, thin=1, reuse=False, quiet=False, scratch=None, keep=False):
        self.dataset, self.k, self.threads_list, self.queries = dataset, k, threads, queries
        self.rounds, self.effort, self.timeout, self.memory_limit = rounds, effort, timeout, memory_limit
        self.point_s, self.min_s, self.build_s = point_s, min_s, build_s
        self.thin, self.reuse, self.quiet = thin, reuse, quiet
        self.keep = keep or reuse
        self.scratch = scratch or BUILDS
        self.candidates = []
        self.absent, self.failed, self.caught, self.notes = [], [], [], []
        self.rows = []              # the JSON list
        self.sections = {}          # workload -> rows of its own
        self.machine = machine.record()
        self.probe = {}
        self.workers = {}
        os.makedirs(self.scratch, exist_ok=True)
        _sweep(self.scratch)
        self.answers = tempfile.mkdtemp(prefix="answers-%d-" % os.getpid(), dir=self.scratch)
        self.started, self.busy = time.time(), machine.busy_seconds()

    # -- saying and noting

    def say(self, text, end="\n"):
        if not self.quiet:
            print(text, end=end, flush=True)

    def fail(self, candidate, failed):
        """Notes a failure once; the rest of the run goes on."""
        entry = {"library": candidate.library, "index": candidate.plan.index, "build_params": candidate.plan.build,
                 "dataset": self.dataset.name, "stage": failed.stage, "reason": failed.reason}
        if entry not in self.failed:
            self.failed.append(entry)
            self.say("  %s: failed in %s: %s" % (candidate.name, failed.stage, failed.reason))

    def catch(self, candidate, faults, stage):
        for fault in faults:
            if not any(c["library"] == candidate.library and c["index"] == candidate.plan.index
                       and c["stage"] == stage and c["fault"].split(":")[0] == fault.split(":")[0]
                       for c in self.caught):
                self.caught.append({"library": candidate.library, "index": candidate.plan.index, "stage": stage,
                                    "dataset": self.dataset.name, "fault": fault})
                self.say("  %s: CAUGHT in %s: %s" % (candidate.name, stage, fault))
        candidate.faults += faults

    # -- choosing

    def choose(self, only=None, databases=False):
        """Fills self.candidates; a library that is not there goes to self.absent with the reason."""
        wanted = only if only is not None else dict.fromkeys(adapters.LIBRARIES)
        setup = installed()
        n, dim = self.dataset.base.shape
        for library, indexes in wanted.items():
            if databases and library not in adapters.DATABASES and only is None:
                continue
            module, name, distribution = adapters.LIBRARIES[library]
            state = setup.get(distribution) if distribution else None
            if distribution and (state is None or state["status"] == "absent"):
                self.absent.append({"library": library, "reason": state["reason"] if state else
                                    "not installed (make bench-setup)"})
                continue
            if module is None:
                self.absent.append({"library": library, "reason": "installed, but nothing here knows how to ask it"})
                continue
            plans = adapters.adapter_class(library).plans(self.dataset.metric, n, dim, self.effort)
            if indexes is not None:
                # asked for by name: look among all it has
                every = adapters.adapter_class(library).plans(self.dataset.metric, n, dim, "full")
                known = {p.index for p in every}
                for index in sorted(indexes - known):
                    self.absent.append({"library": "%s:%s" % (library, index), "reason":
                                        "no such index for metric %s (known: %s)" % (
                                            self.dataset.metric, " ".join(sorted(known)))})
                have = {p.index for p in plans}
                plans = [p for p in plans if p.index in indexes] + \
                        [p for p in every if p.index in indexes and p.index not in have]
            if not plans:
                self.absent.append({"library": library, "reason": "nothing for metric %s" % self.dataset.metric})
            for p in plans:
                p.searches = p.searches[::self.thin]
            plugged = (module, name) if "." in module else None
            self.candidates += [Candidate(library, p, plugged) for p in plans]
        for entry in self.absent:
            self.say("  absent %s: %s" % (entry["library"], entry["reason"]))

    def add(self, candidate):
        self.candidates.append(candidate)

    def alive(self):
        return [c for c in self.candidates if not c.dead]

    # -- workers

    def folder_of(self, candidate, what=""):
        tag = hashlib.blake2b(json.dumps([candidate.plan.build, self.dataset.key, what], sort_keys=True).encode(),
                              digest_size=5).hexdigest()
        safe = "".join(c if c.isalnum() or c in "-_@" else "_" for c in self.dataset.name)
        return os.path.join(self.scratch, "%s-%s-%s-%s" % (candidate.library, candidate.plan.index, safe, tag))

    def worker(self, candidate, threads, folder=None, pin=True):
        """A fresh process with the library loaded; Failed("load", ...) when it cannot be."""
        folder = folder or candidate.folder
        w = Worker(threads, os.path.join(os.path.dirname(self.answers), "log", "%s-%s.log" % (
            candidate.library, candidate.plan.index)), self.memory_limit, pin=pin)
        try:
            reply = w.call("load", 300, do="make", library=candidate.library if not candidate.module
                           else candidate.module[1], index=candidate.plan.index, metric=self.dataset.metric,
                           dim=int(self.dataset.base.shape[1]), build=candidate.plan.build, folder=folder,
                           threads=threads, module=candidate.module[0] if candidate.module else None)
        except Failed:
            w.close()
            raise
        candidate.version = reply["version"]
        return w

    def opened(self, candidate, threads):
        """A worker with the built index open, kept for the next time while there is memory."""
        key = (id(candidate), threads)
        if key in self.workers:
            return self.workers[key]
        # a database is open in one process at a time
        self.drop(candidate)
        need = max(2 << 30, candidate.peak_rss)
        while self.workers and available_memory() < need + (1 << 30):
            oldest = next(iter(self.workers))
            self.workers.pop(oldest).close()
        w = self.worker(candidate, threads)
        try:
            reply = w.call("open", 600, do="open", threads=threads)
        except Failed:
            w.close()
            raise
        candidate.open_s.append(reply["open_s"])
        self.workers[key] = w
        return w

    def drop(self, candidate):
        for key in [k for k in self.workers if k[0] == id(candidate)]:
            self.workers.pop(key).close()

    def close(self):
        for w in self.workers.values():
            w.close()
        self.workers.clear()
        shutil.rmtree(self.answers, ignore_errors=True)
        if not self.keep:
            for c in self.candidates:
                if c.folder:
                    shutil.rmtree(c.folder, ignore_errors=True)

    # -- building

    def build_all(self, repeats=1, columns=False):
        """Each build alone on the machine, with all its cores."""
        todo = self.alive()
        for i, c in enumerate(todo):
            self.say("  [%d/%d] build %r ... " % (i + 1, len(todo), c), end="")
            try:
                self._build(c, repeats, columns)
                self.say("%.1f s, peak %.0f MB, disk %.0f MB%s" % (
                    c.built["build_s"], c.built["peak_rss_bytes"] / 1e6, c.built["index_bytes"] / 1e6,
                    " (kept from before)" if c.built.get("kept") else ""))
            except Failed as e:
                self.say("")
                c.dead = e.reason
                self._note_dead(c, e)

    def _note_dead(self, c, e):
        if e.stage == "load" and ("ModuleNotFoundError" in e.reason or "ImportError" in e.reason):
            entry = {"library": c.library, "reason": e.reason}
            if entry not in self.absent:
                self.absent.append(entry)
                self.say("  absent %s: %s" % (c.library, e.reason))
        else:
            self.fail(c, e)

    def _build(self, c, repeats, columns):
        c.folder = self.folder_of(c, "columns" if columns else "")
        note = os.path.join(c.folder, "built.json")
        cores = len(os.sched_getaffinity(0))
        if self.reuse and os.path.exists(note):
            with open(note) as f:
                built = json.load(f)
            # an index of another version is not the same index; vecdb's version tells one build from the next
            self.worker(c, cores, pin=False).close()
            if built["version"] == c.version and _enough(built["builds"], repeats, self.build_s):
                self._note_built(c, dict(built, kept=True))
                return
        times, indexing = [], []
        while True:
            shutil.rmtree(c.folder, ignore_errors=True)
            os.makedirs(c.folder)
            w = self.worker(c, cores, pin=False)
            try:
                request = {"base": self.dataset.base_path, "rows": len(self.dataset.base)}
                if columns:
                    self.dataset.attributes()
                    request["columns"] = self.dataset.cached_path("attributes")
                reply = w.call("build", self.timeout, do="fit", **request)
                w.call("build", 120, do="close")
            finally:
                w.close()
            # a library that works in processes of its own is counted with them
            tree = w.peak_tree - reply["harness_bytes"]
            reply["peak_rss_bytes"] = max(reply["peak_rss_bytes"], tree)
            times.append(reply["build_s"])
            indexing.append(reply.get("index_s"))
            # short builds are cheap to repeat, and noisy
            if _enough(times, repeats, self.build_s):
                break
        built = dict(reply, build_s=median(times), builds=times, version=c.version,
                     index_s=None if None in indexing else median(indexing), index_bytes=disk_bytes(c.folder), cores=cores)
        write_json(note, built)
        self._note_built(c, built)

    def _note_built(self, c, built):
        c.built, c.peak_rss = built, built["peak_rss_bytes"]
        rows = len(self.dataset.base)
        self.sections.setdefault("build", []).append({
            "library": c.library, "version": c.version, "index": c.plan.index, "build_params": c.plan.build,
            "dataset": self.dataset.name, "threads": built["cores"], "build_s": built["build_s"],
            "builds": built["builds"], "index_s": built.get("index_s"),
            "rows_per_s": rows / built["build_s"] if built["build_s"] else None,
            "save_s": built["save_s"], "peak_rss_bytes": built["peak_rss_bytes"], "index_bytes": built["index_bytes"],
            "kept": bool(built.get("kept"))})

    # -- (a) the search curve

    def search(self, batch_modes=(False, True)):
        nq = min(self.queries, len(self.dataset.queries))
        slices = max(1, min(self.rounds, len(self.dataset.queries) // nq))
        _, truth = self.dataset.truth(nq * slices, self.k)
        for threads in self.threads_list:
            for batch in batch_modes:
                self._search_mode(threads, batch, nq, slices, truth)
        for c in self.alive():
            self._check_repeats(c, self.threads_list[0], nq)
            self._count_work(c)
            self.sections.setdefault("loaded", []).append({
                "library": c.library, "index": c.plan.index, "build_params": c.plan.build,
                "vectors_bytes": self.dataset.base.nbytes, "loaded_bytes": c.loaded})

    def _search_mode(self, threads, batch, nq, slices, truth):
        samples = {}
        live = [c for c in self.alive()]
        skipped = set()
        for r in range(self.rounds):
            first = (r % slices) * nq
            most = max((len(c.plan.searches) for c in live), default=0)
            for p in range(most):
                # libraries take turns at every setting, so that a busy minute hits all of them
                turn = live if r % 2 == 0 else live[::-1]
                for c in turn:
                    if c.dead or p >= len(c.plan.searches) or (id(c), p) in skipped:
                        continue
                    if r == 0 and self._saturated(c, p, samples):
                        skipped.add((id(c), p))
                        continue
                    try:
                        got = self._point(c, c.plan.searches[p], threads, batch, first, nq, truth)
                    except Failed as e:
                        if e.unsupported:
                            skipped.add((id(c), p))
                        else:
                            self.drop(c)
                            c.dead = e.reason
                            self.fail(c, e)
                        continue
                    if got:
                        samples.setdefault((id(c), p), []).append(got)
            self.say("  search, %d thread%s, %s: round %d of %d, load %s" % (
                threads, "s" if threads > 1 else "", "batch" if batch else "one at a time", r + 1, self.rounds,
                " ".join(map(str, machine.load()))))
            if r == 0:
                skipped |= self._dominated(live, samples)
        for c in live:
            if c.dead:
                continue
            for p, params in enumerate(c.plan.searches):
                got = samples.get((id(c), p), [])
                if len(got) >= self.rounds:
                    self._add_row(c, params, threads, nq if batch else 1, got)

    def _saturated(self, c, p, samples):
        """A one-parameter sweep that already finds everything can only get slower."""
        if p < 2 or len(c.plan.searches[p]) != 1:
            return False
        return all(samples.get((id(c), q), [{"recall": 0}])[0]["recall"] >= 0.99995 for q in (p - 2, p - 1))

    def _dominated(self, live, samples):
        """Settings that another of the same library beats in both by far are not on its curve."""
        out = set()
        for c in live:
            mine = {p: samples[(id(c), p)][0] for p in range(len(c.plan.searches)) if (id(c), p) in samples}
            for p, a in mine.items():
                if any(b["recall"] >= a["recall"] and b["qps"] > 1.4 * a["qps"] for q, b in mine.items() if q != p):
                    out.add((id(c), p))
        return out

    def _point(self, c, params, threads, batch, first, nq, truth):
        if batch and not c.kind.batched:
            return None
        w = self.opened(c, threads)
        out = os.path.join(self.answers, "%d" % id(c))
        reply = w.call("search", 60 + 20 * self.point_s + self.timeout / 10, do="search", params=params,
                       queries=self.dataset.queries_path, first=first, count=nq, k=self.k, batch=batch,
                       clients=threads, out=out, min_s=self.min_s, max_s=self.point_s, threads=threads)
        ids = np.load(out + ".ids.npy")
        said = np.load(out + ".distances.npy") if reply["distances"] else None
        asked = slice(first, first + reply["asked"])
        verdict = judge.check(self.dataset.metric, self.dataset.base, self.dataset.queries[asked], ids, said,
                              truth[asked], self.k, exact_claim=c.plan.exact, lossy=c.plan.lossy)
        faults = verdict.faults + judge.lazy_fault(reply["call_s"], reply["unpack_s"])
        if faults:
            self.catch(c, faults, "search")
        c.peak_rss = max(c.peak_rss, reply["peak_rss_bytes"], w.peak_tree)
        reply.update(recall=verdict.recall, full_share=verdict.full_share, faults=faults)
        c.loaded = max(c.loaded, reply["loaded_bytes"])
        return reply

    def _check_repeats(self, c, threads, nq):
        """After the curve: does asking again bring an answer out of a drawer?"""
        count = min(100, nq // 2)
        first = len(self.dataset.queries) - 2 * count
        if count < 10 or first < 0:
            return
        params = c.middle()
        try:
            w = self.opened(c, threads)
            reply = w.call("repeat", 300, do="repeat", params=params, queries=self.dataset.queries_path,
                           first=first, count=count, k=self.k)
        except Failed as e:
            self.fail(c, e)
            return
        self.catch(c, judge.repeat_fault(reply["first_s"], reply["again_s"]), "repeated questions")

    def _count_work(self, c):
        """Rows scored and nodes visited, where a library tells: the machine's limit follows from them."""
        measured = [r["search_params"] for r in self.rows if r["library"] == c.library and
                    r["index"] == c.plan.index and r["build_params"] == c.plan.build and r["batch"] == 1]
        counts = []
        try:
            for params in measured:
                reply = self.opened(c, self.threads_list[0]).call(
                    "counting work", 120, do="work", params=params, queries=self.dataset.queries_path,
                    count=min(50, len(self.dataset.queries)), k=self.k)
                counts.append(dict(reply, library=c.library, index=c.plan.index, build_params=c.plan.build,
                                   search_params=params))
        except Failed as e:
            if not e.unsupported:
                self.fail(c, e)
            return
        self.sections.setdefault("work", []).extend(counts)

    def _add_row(self, c, params, threads, batch, got):
        asked = sum(g["asked"] for g in got)
        row = {
            "library": c.library, "version": c.version, "index": c.plan.index, "build_params": c.plan.build,
            "search_params": params, "dataset": self.dataset.name, "threads": threads, "batch": batch,
            "recall": sum(g["recall"] * g["asked"] for g in got) / asked,
            "qps": median([g["qps"] for g in got]),
            "p50_us": median([g["p50_us"] for g in got]) if batch == 1 else None,
            "p99_us": median([g["p99_us"] for g in got]) if batch == 1 else None,
            "build_s": c.built["build_s"], "peak_rss_bytes": c.peak_rss, "index_bytes": c.built["index_bytes"],
            "open_s": median(c.open_s),
        }
        self.rows.append(row)
        self.sections.setdefault("search_detail", []).append({
            "library": c.library, "index": c.plan.index, "build_params": c.plan.build, "search_params": params,
            "threads": threads, "batch": batch, "qps": [g["qps"] for g in got],
            "recall": [g["recall"] for g in got], "asked": [g["asked"] for g in got],
            "full_share": min(g["full_share"] for g in got), "build_peak_bytes": c.built["peak_rss_bytes"],
            "builds": c.built.get("builds")})

    # -- (e) opening, cold and warm

    def opening(self):
        rows = self.sections.setdefault("open", [])
        self.dataset.truth(1, self.k)
        for c in self.alive():
            self.drop(c)
        got, out = {}, set()
        for r in range(max(3, self.rounds)):
            for c in self.in_turn(r, out):
                for cache in ("cold", "warm"):
                    try:
                        got.setdefault((id(c), cache), []).append(self._open_once(c, cache == "cold"))
                    except Failed as e:
                        out.add(id(c))
                        self.fail(c, e)
                        break
            self.say("  open: round %d" % (r + 1))
        for c in self.in_turn(0, out):
            for cache in ("cold", "warm"):
                times = got[id(c), cache]
                rows.append({"library": c.library, "index": c.plan.index, "build_params": c.plan.build,
                             "dataset": self.dataset.name, "cache": cache, "open_s": median([t["open_s"] for t in times]),
                             "first_query_us": median([t["first_query_us"] for t in times]), "times": len(times)})

    def _open_once(self, c, cold):
        if cold:
            forget_cached(c.folder)
        w = self.worker(c, 1)
        try:
            return w.call("open", 900, do="first_query", threads=1, queries=self.dataset.queries_path, k=self.k,
                          params=c.middle())
        finally:
            w.close()

    def in_turn(self, round_, without=()):
        """Who is still in, every other round the other way about, so that a busy minute hits all of them."""
        left = [c for c in self.alive() if id(c) not in without]
        return left if round_ % 2 == 0 else left[::-1]

    # -- the record

    def other_cores(self):
        """How many cores other programs kept busy on the average; ask when the workers have ended."""
        everybody, mine = machine.busy_seconds()
        spent = time.time() - self.started
        return round(max(0.0, everybody - self.busy[0] - (mine - self.busy[1])) / max(spent, 0.01), 2)

    def record(self):
        return {"machine": dict(self.machine, load_at_end=machine.load(), other_cores=self.other_cores()),
                "probe": self.probe,
                "settings": {"dataset": self.dataset.name, "rows": len(self.dataset.base),
                             "dim": int(self.dataset.base.shape[1]), "metric": self.dataset.metric, "k": self.k,
                             "threads": self.threads_list, "queries": self.queries, "rounds": self.rounds,
                             "effort": self.effort},
                "seconds": round(time.time() - self.started, 1), "absent": self.absent, "failed": self.failed,
                "caught": self.caught, "notes": self.notes, "results": self.rows, "sections": self.sections}


def _enough(times, repeats, most_s):
    return len(times) >= repeats or sum(times) > most_s


def write_json(path, value):
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    scratch = path + ".new"
    with open(scratch, "w") as f:
        json.dump(value, f, indent=1)
        f.write("\n")
    os.replace(scratch, path)


def sidecar(path):
    """Beside results.json lies results.run.json with the machine, the absent, the failed and the rest."""
    stem = path[:-5] if path.endswith(".json") else path
    return stem + ".run.json"
