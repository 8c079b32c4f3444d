"""One comparison: which libraries, their builds, and the workloads, with everything that went wrong written down."""
import hashlib
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
        self.faults = []

    @property
    def name(self):
        return "%s:%s" % (self.library, self.plan.index)

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


class Run:
    def __init__(self, dataset, k, threads, queries, rounds=3, effort="normal", timeout=3600, memory_limit=None,
                 point_s=4.0, min_s=0.25, reuse=False, quiet=False, scratch=None, keep=False):
        self.dataset, self.k, self.threads_list, self.queries = dataset, k, threads, queries
        self.rounds, self.effort, self.timeout, self.memory_limit = rounds, effort, timeout, memory_limit
        self.point_s, self.min_s, self.reuse, self.quiet = point_s, min_s, reuse, quiet
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
        self.answers = tempfile.mkdtemp(prefix="answers-", dir=self.scratch)
        self.started = time.time()

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
            distribution = adapters.LIBRARIES[library][2]
            state = setup.get(distribution) if distribution else None
            if distribution and (state is None or state["status"] == "absent"):
                self.absent.append({"library": library, "reason": state["reason"] if state else
                                    "not installed (make bench-setup)"})
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
            self.candidates += [Candidate(library, p) for p in plans]
        for entry in self.absent:
            self.say("  absent %s: %s" % (entry["library"], entry["reason"]))

    def add(self, candidate):
        self.candidates.append(candidate)

    def alive(self):
        return [c for c in self.candidates if not c.dead]

    # -- workers

    def _folder(self, candidate, what=""):
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
        c.folder = self._folder(c, "columns" if columns else "")
        note = os.path.join(c.folder, "built.json")
        cores = len(os.sched_getaffinity(0))
        if self.reuse and os.path.exists(note):
            with open(note) as f:
                built = json.load(f)
            # an index of another version is not the same index; vecdb's version tells one build from the next
            self.worker(c, cores, pin=False).close()
            if built["version"] == c.version:
                c.built = dict(built, kept=True)
                c.peak_rss = built["peak_rss_bytes"]
                return
        times = []
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
            # short builds are cheap to repeat, and noisy
            if len(times) >= repeats or sum(times) > 120:
                break
        c.built = dict(reply, build_s=median(times), builds=times, version=c.version,
                       index_bytes=disk_bytes(c.folder), cores=cores)
        c.peak_rss = c.built["peak_rss_bytes"]
        with open(note, "w") as f:
            json.dump(c.built, f)

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
        if batch and not (c.module or adapters.adapter_class(c.library).batched):
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
        c.search_rss = max(getattr(c, "search_rss", 0), reply["rss_bytes"])
        return reply

    def _check_repeats(self, c, threads, nq):
        """After the curve: does asking again bring an answer out of a drawer?"""
        count = min(100, nq // 2)
        first = len(self.dataset.queries) - 2 * count
        if count < 10 or first < 0:
            return
        params = c.plan.searches[len(c.plan.searches) // 2]
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
            "search_rss_bytes": getattr(c, "search_rss", None), "builds": c.built.get("builds")})

    # -- (e) opening, cold and warm

    def opening(self):
        rows = self.sections.setdefault("open", [])
        _, truth = self.dataset.truth(1, self.k)
        for c in self.alive():
            self.drop(c)
            for cold in (True, False):
                opens, firsts = [], []
                for _ in range(max(3, self.rounds)):
                    try:
                        if cold:
                            forget_cached(c.folder)
                        w = self.worker(c, 1)
                        try:
                            reply = w.call("open", 900, do="first_query", threads=1, queries=self.dataset.queries_path,
                                           k=self.k, params=c.plan.searches[len(c.plan.searches) // 2])
                        finally:
                            w.close()
                    except Failed as e:
                        self.fail(c, e)
                        break
                    opens.append(reply["open_s"])
                    firsts.append(reply["first_query_us"])
                else:
                    rows.append({"library": c.library, "index": c.plan.index, "build_params": c.plan.build,
                                 "dataset": self.dataset.name, "cache": "cold" if cold else "warm",
                                 "open_s": median(opens), "first_query_us": median(firsts), "times": len(opens)})
            self.say("  open %s" % c.name)

    # -- (d) filters

    def filtered(self, kinds, selectivities, queries=100):
        rows = self.sections.setdefault("filter", [])
        _, groups = self.dataset.attributes()
        queries = min(queries, len(self.dataset.queries))
        for kind in kinds:
            for selectivity in selectivities:
                # for near and far the question must lie near the pivot: those that do are asked
                numbers = self._near_pivots(groups, queries) if kind in ("near", "far") else np.arange(queries)
                self.say("  filter %s %g %%" % (kind, selectivity * 100))
                _, truth = self.dataset.filtered_truth(kind, selectivity, numbers, self.k)
                # every library at this filter before the next: a busy minute hits all of them
                for c in self.alive():
                    if "filter" in adapters.adapter_class(c.library).features:
                        self._filter_library(c, kind, selectivity, numbers, groups, truth, rows)

    def _near_pivots(self, groups, queries):
        from ..datasets import attributes, exact
        pivots = self.dataset.queries[:attributes.PIVOTS]
        picked = []
        for p in range(len(pivots)):
            mine = np.nonzero(groups == p)[0]
            order = np.argsort(exact.distances(self.dataset.metric, pivots[p], self.dataset.queries[mine]),
                               kind="stable")
            picked.append(mine[order][:max(1, queries // len(pivots))])
        return np.concatenate(picked)

    def _filter_library(self, c, kind, selectivity, numbers, groups, truth, rows):
        from ..datasets import attributes
        columns, _ = self.dataset.attributes()
        searches = c.plan.searches
        # a few settings show the trade: low, middle, high
        chosen = sorted({len(searches) // 4, len(searches) // 2, (3 * len(searches)) // 4}) if len(searches) > 1 else [0]
        for s in chosen:
            params = searches[s]
            qps, recall, full, p99, asked = [], 0.0, 0.0, [], 0
            spent = 0.0
            try:
                w = self.opened(c, 1)
                for pivot in np.unique(groups[numbers]):
                    at = np.nonzero(groups[numbers] == pivot)[0]
                    if kind not in ("near", "far"):
                        if pivot != groups[numbers][0]:
                            continue
                        at = np.arange(len(numbers))
                    expression = attributes.filter_of(kind, selectivity, int(pivot))
                    out = os.path.join(self.answers, "%d" % id(c))
                    reply = w.call("filtered search", 60 + 30 * self.point_s, do="filtered", params=params,
                                   queries=self.dataset.queries_path, numbers=numbers[at].tolist(), k=self.k,
                                   expression=expression, columns=self.dataset.cached_path("attributes"), out=out,
                                   max_s=self.point_s)
                    n = reply["asked"]
                    said = np.load(out + ".distances.npy") if reply["distances"] else None
                    verdict = judge.check(self.dataset.metric, self.dataset.base,
                                          self.dataset.queries[numbers[at][:n]], np.load(out + ".ids.npy"), said,
                                          truth[at][:n], self.k, exact_claim=c.plan.exact, lossy=c.plan.lossy,
                                          mask=attributes.passes(expression, columns))
                    if verdict.faults:
                        self.catch(c, verdict.faults, "filtered search")
                    recall += verdict.recall * n
                    full += verdict.full_share * n
                    asked += n
                    spent += n / reply["qps"]
                    p99.append(reply["p99_us"])
            except Failed as e:
                if e.unsupported:
                    self.fail(c, e)
                    return
                self.drop(c)
                self.fail(c, e)
                return
            rows.append({"library": c.library, "index": c.plan.index, "build_params": c.plan.build,
                         "search_params": params, "dataset": self.dataset.name, "kind": kind,
                         "selectivity": selectivity, "recall": recall / asked, "full_share": full / asked,
                         "qps": asked / spent, "p99_us": max(p99), "queries": asked})

    # -- (h) ranges

    def ranges(self, queries=100, targets=(10, 100, 1000)):
        from ..datasets import exact
        rows = self.sections.setdefault("range", [])
        queries = min(queries, len(self.dataset.queries))
        most = min(max(targets), len(self.dataset.base) // 10)
        _, truth = self.dataset.truth(queries, most)
        asked = self.dataset.queries[:queries]
        for target in targets:
            if target > most:
                continue
            # one radius for all, as a user has it: the median distance of the target-th neighbour
            radius = float(np.float32(np.median(truth[:, target - 1])))
            radii = [radius] * queries
            true_ids = [ids for ids, _ in exact.within(self.dataset.metric, self.dataset.base, asked, radii)]
            self.say("  range of about %d rows: radius %.6g, %d to %d hits" % (
                target, radius, min(map(len, true_ids)), max(map(len, true_ids))))
            for c in self.alive():
                if c.module is None and "range" not in adapters.adapter_class(c.library).features:
                    continue
                searches = c.plan.searches
                for s in sorted({len(searches) // 2, len(searches) - 1}):
                    out = os.path.join(self.answers, "%d-range" % id(c))
                    try:
                        reply = self.opened(c, 1).call(
                            "range search", 60 + 30 * self.point_s, do="ranges", params=searches[s],
                            queries=self.dataset.queries_path, numbers=list(range(queries)), radii=radii, out=out,
                            max_s=self.point_s)
                    except Failed as e:
                        if not e.unsupported:
                            self.drop(c)
                        self.fail(c, e)
                        break
                    with np.load(out + ".npz") as f:
                        answers = [(part, None) for part in np.split(f["ids"], np.cumsum(f["lengths"])[:-1])]
                    n = reply["asked"]
                    verdict = judge.check_ranges(self.dataset.metric, self.dataset.base, asked[:n], answers[:n],
                                                 true_ids[:n], radii[:n], c.plan.lossy)
                    if verdict.faults:
                        self.catch(c, verdict.faults, "range search")
                    rows.append({"library": c.library, "index": c.plan.index, "build_params": c.plan.build,
                                 "search_params": searches[s], "dataset": self.dataset.name, "target": target,
                                 "radius": radius, "recall": verdict.recall, "qps": reply["qps"],
                                 "p99_us": reply["p99_us"], "queries": n})

    # -- (c) inserting, and (g) readers beside a writer

    def _living(self, feature):
        """One candidate per library that can: a graph, as most use, or the first of its plans."""
        seen = set()
        for c in sorted(self.alive(), key=lambda c: not c.plan.index.startswith("HNSW")):
            kind = adapters.adapter_class(c.library)
            if feature in kind.features and c.library not in seen and "insert" in kind.features:
                seen.add(c.library)
                yield c, kind

    def inserting(self, batches=(1, 10, 100, 1000, 10000), rows=20000, seconds=10.0, queries=100):
        out = self.sections.setdefault("insert", [])
        rows = min(rows, len(self.dataset.base))
        queries = min(queries, len(self.dataset.queries))
        for c, kind in self._living("insert"):
            for durability in kind.durability:
                for batch in batches:
                    if batch > rows:
                        continue
                    try:
                        out.append(self._insert_once(c, durability, batch, rows, seconds, queries))
                        got = out[-1]
                        self.say("  insert %s %s batch %d: %.0f rows/s; right after: recall %.4f, p50 %.0f us" % (
                            c.name, durability, batch, got["rows_per_s"], got["after_insert"]["recall"],
                            got["after_insert"]["p50_us"]))
                    except Failed as e:
                        self.fail(c, e)
                        if e.unsupported or e.stage in ("load", "create"):
                            break

    def _insert_once(self, c, durability, batch, rows, seconds, queries):
        from ..datasets import exact
        folder = self._folder(c, "insert")
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        w = self.worker(c, len(os.sched_getaffinity(0)), folder=folder, pin=False)
        try:
            w.call("create", 120, do="create", durability=durability)
            reply = w.call("insert", 120 + 10 * seconds, do="insert", base=self.dataset.base_path, first=0, rows=rows,
                           batch=batch, max_s=seconds)
            n = reply["rows"]
            base = self.dataset.base[:n]
            asked = self.dataset.queries[:queries]
            k = min(self.k, n)
            _, truth = exact.knn(self.dataset.metric, base, np.asarray(asked), k)
            got = {"library": c.library, "index": c.plan.index, "dataset": self.dataset.name,
                   "durability": durability, "batch": batch, "rows": n, "rows_per_s": reply["rows_per_s"],
                   "p50_us": reply["p50_us"], "p99_us": reply["p99_us"]}
            got["after_insert"] = self._fresh(c, w, base, asked, truth, k, "right after insert")
            # deleted rows must not come back: the nearest of the first questions go
            victims = sorted({int(i) for i in exact.knn(self.dataset.metric, base, np.asarray(asked[:5]), 1)[0].ravel()})
            if "delete" in adapters.adapter_class(c.library).features:
                w.call("delete", 300, do="delete", ids=victims)
                self._no_ghosts(c, w, asked[:5], k, victims)
            if batch == 1000 or batch == rows:
                got["optimize_s"] = w.call("optimize", self.timeout, do="optimize")["optimize_s"]
                left = np.setdiff1d(np.arange(n), victims) if "delete" in \
                    adapters.adapter_class(c.library).features else np.arange(n)
                _, truth = exact.knn(self.dataset.metric, base[left], np.asarray(asked), k)
                got["after_optimize"] = self._fresh(c, w, base, asked, truth, k, "after optimize")
            return got
        finally:
            w.close()
            shutil.rmtree(folder, ignore_errors=True)

    def _fresh(self, c, w, base, asked, truth, k, stage):
        out = os.path.join(self.answers, "%d-fresh" % id(c))
        params = c.plan.searches[len(c.plan.searches) // 2]
        reply = w.call(stage, 300 + 20 * self.point_s, do="search", params=params, queries=self.dataset.queries_path,
                       first=0, count=len(asked), k=k, batch=False, clients=1, out=out, min_s=0, max_s=self.point_s,
                       threads=1)
        n = reply["asked"]
        said = np.load(out + ".distances.npy") if reply["distances"] else None
        verdict = judge.check(self.dataset.metric, base, asked[:n], np.load(out + ".ids.npy"), said, truth[:n], k,
                              exact_claim=c.plan.exact, lossy=True)
        if verdict.faults:
            self.catch(c, verdict.faults, stage)
        return {"recall": verdict.recall, "p50_us": reply["p50_us"], "p99_us": reply["p99_us"], "qps": reply["qps"],
                "search_params": params}

    def _no_ghosts(self, c, w, asked, k, victims):
        out = os.path.join(self.answers, "%d-ghost" % id(c))
        w.call("search after delete", 300, do="search", params=c.plan.searches[len(c.plan.searches) // 2],
               queries=self.dataset.queries_path, first=0, count=len(asked), k=k, batch=False, clients=1, out=out,
               min_s=0, max_s=self.point_s, threads=1)
        ghosts = np.isin(np.load(out + ".ids.npy"), victims).sum()
        if ghosts:
            self.catch(c, ["stale answers: %d hits on rows that were deleted before the question" % ghosts],
                       "search after delete")

    def mixed(self, seconds=5.0, readers=1, batch=100, start_rows=10000):
        out = self.sections.setdefault("mixed", [])
        total = len(self.dataset.base)
        start_rows = min(start_rows, total // 2)
        for c, kind in self._living("mixed"):
            folder = self._folder(c, "mixed")
            shutil.rmtree(folder, ignore_errors=True)
            os.makedirs(folder)
            try:
                w = self.worker(c, len(os.sched_getaffinity(0)), folder=folder, pin=False)
                try:
                    w.call("create", 120, do="create", durability=kind.durability[-1])
                    w.call("insert", 600, do="insert", base=self.dataset.base_path, first=0, rows=start_rows,
                           batch=1000, max_s=300)
                    reply = w.call("mixed", 120 + 10 * seconds, do="mixed", base=self.dataset.base_path,
                                   first=start_rows, rows=total, queries=self.dataset.queries_path, k=self.k,
                                   batch=batch, readers=readers, seconds=seconds,
                                   params=c.plan.searches[len(c.plan.searches) // 2])
                finally:
                    w.close()
            except Failed as e:
                self.fail(c, e)
                continue
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            both = reply["mixed"]
            for error in both["errors"] + reply["read only"]["errors"]:
                self.fail(c, Failed("mixed", error))
            if both["missed"]:
                self.catch(c, ["stale answers: %d of %d rows not found right after their insert returned" % (
                    both["missed"], both["checked"])], "mixed")
            out.append({"library": c.library, "index": c.plan.index, "dataset": self.dataset.name, "readers": readers,
                        "batch": batch, "reads_per_s": both["reads_per_s"], "read_p50_us": both["p50_us"],
                        "read_p99_us": both["p99_us"], "rows_per_s": both["rows_per_s"],
                        "alone_reads_per_s": reply["read only"]["reads_per_s"],
                        "alone_p99_us": reply["read only"]["p99_us"]})
            self.say("  mixed %s: %.0f reads/s beside %.0f rows/s (alone %.0f reads/s)" % (
                c.name, both["reads_per_s"], both["rows_per_s"], reply["read only"]["reads_per_s"]))

    # -- the record

    def record(self):
        return {"machine": dict(self.machine, load_at_end=machine.load()), "probe": self.probe,
                "settings": {"dataset": self.dataset.name, "rows": len(self.dataset.base),
                             "dim": int(self.dataset.base.shape[1]), "metric": self.dataset.metric, "k": self.k,
                             "threads": self.threads_list, "queries": self.queries, "rounds": self.rounds,
                             "effort": self.effort},
                "seconds": round(time.time() - self.started, 1), "absent": self.absent, "failed": self.failed,
                "caught": self.caught, "notes": self.notes, "results": self.rows, "sections": self.sections}


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
