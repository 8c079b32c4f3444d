"""The measuring stick measures honestly: cheats are caught, breakage is named, the rest goes on.

Needs numpy; run with `python -m unittest tests.python.test_bench_harness` from the root of the tree.
"""
import contextlib
import io
import json
import math
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

try:
    import numpy as np
except ImportError as e:
    raise unittest.SkipTest("numpy is not installed") from e

from bench import datasets
from bench.adapters.base import Plan
from bench.datasets import attributes, exact, vecio
from bench import adapters
from bench.harness import cells, curve, filtering, judge, limits, living, machine, plan, process, report, suite, tables
from bench.harness.main import main
from bench.harness.run import SCHEMA, Candidate, Run, parse_only

CHEATS = "tests.python.bench_cheats"


class Scratch(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.cache, datasets.CACHE = datasets.CACHE, os.path.join(self.folder, "data")
        self.addCleanup(setattr, datasets, "CACHE", self.cache)

    def path(self, name):
        return os.path.join(self.folder, name)

    def dataset(self, n=400, nq=120, dim=8, metric="l2", seed=1):
        rng = np.random.default_rng(seed)
        np.save(self.path("base.npy"), rng.standard_normal((n, dim)).astype(np.float32))
        np.save(self.path("queries.npy"), rng.standard_normal((nq, dim)).astype(np.float32))
        return datasets.Dataset("tiny", metric, self.path("base.npy"), self.path("queries.npy"))

    def run_with(self, *names, plan=None, **options):
        """A run of the named cheats; each gets FLAT, which promises exact answers, unless told otherwise."""
        options.setdefault("min_s", 0)
        run = Run(self.dataset(), 5, [1], 30, rounds=3, quiet=True, scratch=self.path("scratch"), **options)
        self.addCleanup(run.close)
        for name in names:
            run.add(Candidate(name, plan or Plan("FLAT", {}, [{}], exact=True), module=(CHEATS, name)))
        return run


class Judge(unittest.TestCase):
    def setUp(self):
        rng = np.random.default_rng(3)
        self.base = rng.standard_normal((200, 6)).astype(np.float32)
        self.queries = rng.standard_normal((20, 6)).astype(np.float32)
        self.ids, self.truth = exact.knn("l2", self.base, self.queries, 10)

    def check(self, ids, distances=None, k=10, **options):
        return judge.check("l2", self.base, self.queries, ids, distances, self.truth, k, **options)

    def test_right_answers_have_recall_one_and_no_fault(self):
        verdict = self.check(self.ids, self.truth, exact_claim=True)
        self.assertEqual((verdict.recall, verdict.full_share, verdict.faults), (1.0, 1.0, []))

    def test_order_does_not_matter_to_recall(self):
        self.assertEqual(self.check(self.ids[:, ::-1]).recall, 1.0)

    def test_ties_count_whichever_row_is_named(self):
        base = np.repeat(np.eye(4, dtype=np.float32), 5, axis=0)
        query = np.eye(4, dtype=np.float32)[:1]
        _, truth = exact.knn("l2", base, query, 3)
        for ids in ([0, 1, 2], [4, 3, 2], [1, 3, 0]):
            self.assertEqual(judge.check("l2", base, query, np.array([ids]), None, truth, 3).recall, 1.0)
        # and a row beyond the tie does not
        self.assertAlmostEqual(judge.check("l2", base, query, np.array([[0, 1, 7]]), None, truth, 3).recall, 2 / 3)

    def test_a_row_named_twice_counts_once_and_is_a_fault(self):
        ids = self.ids.copy()
        ids[:, 1:] = ids[:, :1]
        verdict = self.check(ids)
        self.assertAlmostEqual(verdict.recall, 0.1)
        self.assertIn("same id twice", verdict.faults[0])

    def test_fewer_hits_count_as_misses(self):
        ids = self.ids.copy()
        ids[:, 5:] = -1
        verdict = self.check(ids)
        self.assertEqual((verdict.recall, verdict.full_share), (0.5, 0.0))

    def test_ids_outside_the_rows(self):
        ids = self.ids.copy()
        ids[3, 2] = 200
        self.assertIn("1 ids outside the 200 rows, first 200", self.check(ids).faults)

    def test_ids_that_are_no_whole_numbers(self):
        self.assertIn("ids of type float64", self.check(self.ids + 0.25).faults)

    def test_claims_are_measured_again(self):
        self.assertEqual(self.check(self.ids, self.truth.astype(np.float32)).faults, [])
        self.assertIn("not those of its own answers", self.check(self.ids, self.truth * 0.9).faults[0])
        self.assertIn("NaN", self.check(self.ids, self.truth * np.nan).faults[0])
        # codes may be off by some, not by all
        self.assertEqual(self.check(self.ids, self.truth * 0.9, lossy=True).faults, [])
        self.assertIn("not those", self.check(self.ids, self.truth * 9, lossy=True).faults[0])

    def test_an_exact_index_must_be_exact(self):
        ids = self.ids.copy()
        ids[:, -1] = -1
        self.assertIn("promises exact answers, recall is 0.9000", self.check(ids, exact_claim=True).faults)

    def test_a_filter_is_held_to(self):
        mask = np.ones(200, bool)
        mask[self.ids[0, 0]] = False
        faults = self.check(self.ids, mask=mask).faults
        self.assertIn("filter forbids, first id %d" % self.ids[0, 0], faults[0])

    def test_fewer_rows_than_k_pass_a_filter(self):
        truth = self.truth.copy()
        truth[:, 3:] = np.inf
        ids = self.ids.copy()
        ids[:, 3:] = -1
        verdict = judge.check("l2", self.base, self.queries, ids, None, truth, 10)
        self.assertEqual((verdict.recall, verdict.full_share), (1.0, 1.0))

    def test_wrong_shape(self):
        self.assertIn("answers of shape (20, 4)", self.check(self.ids[:, :4]).faults[0])

    def test_ranges(self):
        radii = [float(self.truth[i, 4]) for i in range(20)]
        true = [ids for ids, _ in exact.within("l2", self.base, self.queries, radii)]
        self.assertEqual([len(t) for t in true], [5] * 20)
        good = judge.check_ranges("l2", self.base, self.queries, [(t, None) for t in true], true, radii)
        self.assertEqual((good.recall, good.faults), (1.0, []))
        wide = judge.check_ranges("l2", self.base, self.queries, [(i, None) for i in self.ids], true, radii)
        self.assertIn("100 of 200 hits lie outside the radius", wide.faults)


class Exact(unittest.TestCase):
    def test_against_float64_for_every_metric(self):
        rng = np.random.default_rng(5)
        base = rng.standard_normal((3000, 17)).astype(np.float32)
        base[7] = 0         # a zero vector has cosine 0
        base[100:110] = base[100]
        queries = np.concatenate([rng.standard_normal((9, 17)).astype(np.float32), base[100:101]])
        for metric in exact.METRICS:
            ids, values = exact.knn(metric, base, queries, 20)
            for q in range(len(queries)):
                all_ = exact.distances(metric, queries[q], base)
                self.assertEqual(ids[q].tolist(), np.argsort(all_, kind="stable")[:20].tolist(), (metric, q))
                np.testing.assert_allclose(values[q], all_[ids[q]], rtol=1e-12)
            again = exact.distances_of(metric, queries, base, ids)
            np.testing.assert_allclose(again, values, rtol=1e-9, atol=1e-12)

    def test_large_offset_falls_back_to_float64(self):
        rng = np.random.default_rng(6)
        base = (1e5 + rng.standard_normal((500, 8))).astype(np.float32)
        query = (1e5 + rng.standard_normal((3, 8))).astype(np.float32)
        ids, _ = exact.knn("l2", base, query, 5)
        for q in range(3):
            want = np.argsort(exact.distances("l2", query[q], base), kind="stable")[:5]
            self.assertEqual(ids[q].tolist(), want.tolist())

    def test_more_neighbours_than_rows(self):
        ids, _ = exact.knn("l2", np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32), 10)
        self.assertEqual(ids.shape, (3, 3))

    def test_filters_pass_their_share(self):
        rng = np.random.default_rng(7)
        base, queries = rng.standard_normal((10000, 4)).astype(np.float32), rng.standard_normal((9, 4)).astype(np.float32)
        columns, groups = attributes.make("l2", base, queries)
        for kind in attributes.KINDS:
            for share in attributes.SELECTIVITIES:
                mask = attributes.passes(attributes.filter_of(kind, share, 0), columns)
                self.assertAlmostEqual(mask.sum() / 10000, share, delta=0.0002, msg=(kind, share))
        near = attributes.passes(attributes.filter_of("near", 0.01, 1), columns)
        order = np.argsort(exact.distances("l2", queries[1], base), kind="stable")[:100]
        self.assertTrue(near[order].all())
        self.assertEqual(groups[:4].tolist(), [0, 1, 2, 3])


class Curve(unittest.TestCase):
    def test_frontier_drops_what_is_beaten(self):
        self.assertEqual(curve.frontier([(0.9, 100), (0.8, 90), (0.95, 50), (0.95, 60)]), [(0.9, 100), (0.95, 60)])

    def test_between_two_settings(self):
        points = [(0.9, 1000.0), (0.99, 100.0)]
        self.assertAlmostEqual(curve.qps_at(points, 0.9), 1000)
        middle = 1 - math.sqrt(0.1 * 0.01)      # half way on the log scale of the error
        self.assertAlmostEqual(curve.qps_at(points, middle), math.sqrt(1000 * 100))

    def test_nothing_is_extrapolated(self):
        self.assertIsNone(curve.qps_at([(0.9, 1000)], 0.95))
        self.assertEqual(curve.qps_at([(0.97, 1000), (0.99, 500)], 0.9), 1000)
        self.assertIsNone(curve.qps_at([], 0.9))

    def test_median_was_measured(self):
        self.assertEqual(curve.median([3, 1, 2]), 2)
        self.assertEqual(curve.median([4, 1, 2, 3]), 2)


class Limits(unittest.TestCase):
    PROBE = {"read_gbs_1": 20.0, "read_gbs_all": 30.0, "fma_gflops_1": 100.0, "vnni_gmacs_1": 200.0,
             "random_lines_per_s_1": 1e8, "random_lines_per_s_all": 2e8}
    WORK = {"hops": 50, "rows_scored": 1000, "reranked": 20}

    def limit(self, reads, dim=128, **more):
        work = dict(self.WORK, reads=dict({"query": 0, "row": 0, "exact": 0, "hop": 0}, **reads))
        return limits.limit_qps(self.PROBE, dim, work, **more)

    def test_exact_search(self):
        self.assertAlmostEqual(limits.flat_single_qps(self.PROBE, 1000000, 512), 39.0625)
        self.assertAlmostEqual(limits.flat_batch_qps(self.PROBE, 1000000, 128), 390.625)
        self.assertAlmostEqual(limits.flat_batch_qps(self.PROBE, 1000000, 128, byte_codes=True), 1562.5)
        self.assertIsNone(limits.flat_single_qps({}, 1, 1))

    def test_graphs_are_bound_by_the_lines_of_their_codes(self):
        # a byte a dimension: two lines a row, two of links, eight of floats for what is scored again
        self.assertEqual(self.limit({"row": 128, "exact": 512, "hop": 128}),
                         (1e8 / (50 * 2 + 1000 * 2 + 20 * 8), "random lines"))
        # codes of half, of four times the size: the limit follows what the index says, not its kind
        self.assertEqual(self.limit({"row": 64, "exact": 512, "hop": 128})[0], 1e8 / (50 * 2 + 1000 + 20 * 8))
        self.assertEqual(self.limit({"row": 512, "exact": 512, "hop": 128})[0], 1e8 / (50 * 2 + 1000 * 8 + 20 * 8))
        self.assertEqual(self.limit({"row": 512, "exact": 512, "hop": 128}, threads=2)[0],
                         2e8 / (50 * 2 + 1000 * 8 + 20 * 8))

    def test_a_graph_is_not_faster_than_the_bandwidth(self):
        probe = dict(self.PROBE, read_gbs_1=0.64)       # ten million lines a second, in any order
        work = dict(self.WORK, reads={"query": 0, "row": 128, "exact": 512, "hop": 128})
        self.assertAlmostEqual(limits.limit_qps(probe, 128, work)[0], 1e7 / (50 * 2 + 1000 * 2 + 20 * 8))

    def test_lists_stream_centroids_and_codes(self):
        seconds = (12800 + 1000 * 140) / 20e9 + 20 * 8 / 1e8
        found = self.limit({"query": 12800, "row": 140, "exact": 512})
        self.assertAlmostEqual(found[0], 1 / seconds)
        self.assertEqual(found[1], "bandwidth")

    def test_batches_of_scans_are_bound_by_arithmetic(self):
        self.assertEqual(self.limit({"row": 140, "exact": 512}, batch=True), (200e9 / (1000 * 128), "VNNI"))
        self.assertEqual(self.limit({"row": 512, "exact": 512}, batch=True), (100e9 / (2 * 1000 * 128), "FMA"))
        self.assertIsNone(self.limit({"row": 36, "exact": 512}, batch=True))
        self.assertEqual(self.limit({"row": 128, "exact": 512, "hop": 128}, batch=True)[1], "random lines")

    def test_nothing_is_said_without_figures(self):
        self.assertIsNone(limits.limit_qps(self.PROBE, 128, self.WORK))
        self.assertIsNone(limits.limit_qps({}, 128, dict(self.WORK, reads={"query": 0, "row": 1, "exact": 1, "hop": 1})))


class Cheats(Scratch):
    """Each is fed to the harness as a library, in a worker process of its own."""

    def faults(self, name, plan=None):
        run = self.run_with(name, "Honest", plan=plan)
        run.build_all()
        run.search()
        self.assertEqual(run.failed, [])
        self.assertEqual([c for c in run.caught if c["library"] == "Honest"], [])
        rows = [r for r in run.rows if r["library"] == name]
        self.assertTrue(rows)
        return [c["fault"] for c in run.caught], rows, run

    def test_honest(self):
        _, rows, run = self.faults("Honest")
        self.assertEqual({r["recall"] for r in rows}, {1.0})
        self.assertEqual(run.caught, [])
        self.assertEqual({r["batch"] for r in rows}, {1, 30})

    def test_rows_have_the_documented_keys(self):
        _, rows, _ = self.faults("Honest")
        for row in rows:
            self.assertEqual(tuple(row), SCHEMA)
            json.dumps(row)

    def test_wrong_ids_under_right_distances(self):
        faults, rows, _ = self.faults("WrongIds")
        self.assertLess(rows[0]["recall"], 0.2)
        self.assertTrue(any("not those of its own answers" in f for f in faults), faults)
        self.assertTrue(any("promises exact" in f for f in faults), faults)

    def test_wrong_ids_that_promise_nothing(self):
        # an approximate index may miss, so low recall is no fault; its distances still give it away
        faults, rows, _ = self.faults("WrongIds", Plan("HNSW", {}, [{}]))
        self.assertLess(rows[0]["recall"], 0.2)
        self.assertTrue(any("not those of its own answers" in f for f in faults), faults)

    def test_ids_that_do_not_exist(self):
        faults, rows, _ = self.faults("NoSuchIds")
        self.assertEqual(rows[0]["recall"], 0)
        self.assertTrue(any("outside the 400 rows" in f for f in faults), faults)

    def test_fewer_than_k(self):
        faults, rows, run = self.faults("TooFew")
        self.assertAlmostEqual(rows[0]["recall"], 0.4)
        self.assertEqual(run.sections["search_detail"][0]["full_share"], 0.0)
        self.assertTrue(any("promises exact" in f for f in faults), faults)

    def test_stale_answers(self):
        faults, rows, _ = self.faults("Stale")
        self.assertLess(rows[0]["recall"], 0.3)
        self.assertTrue(any("not those of its own answers" in f for f in faults), faults)

    def test_duplicate_ids(self):
        faults, rows, _ = self.faults("Twice")
        self.assertAlmostEqual(rows[0]["recall"], 0.2)
        self.assertTrue(any("the same id twice" in f for f in faults), faults)

    def test_made_up_distances(self):
        faults, rows, _ = self.faults("MadeUp")
        self.assertEqual(rows[0]["recall"], 1.0)
        self.assertTrue(any("not those of its own answers" in f for f in faults), faults)

    def test_answers_out_of_a_drawer(self):
        faults, _, _ = self.faults("Drawer")
        self.assertTrue(any("repeated question" in f for f in faults), faults)

    def test_promises_instead_of_answers(self):
        faults, _, _ = self.faults("Promises")
        self.assertTrue(any("unfinished answers" in f for f in faults), faults)

    def test_deleted_rows_that_stay(self):
        run = self.run_with("Ghosts", "Honest")
        for c, caught in zip(run.candidates, (True, False)):
            got = living.insert_once(run, c, "none", 100, 300, 5, 20)
            self.assertEqual(got["after_insert"]["recall"], 1.0)
            mine = [x["fault"] for x in run.caught if x["library"] == c.library]
            self.assertEqual(any("stale answers" in f and "deleted" in f for f in mine), caught, mine)

    def test_range_answers_from_outside(self):
        run = self.run_with("Wide", "Honest")
        run.build_all()
        filtering.ranges(run, queries=20, targets=(10,))
        self.assertEqual([c["library"] for c in run.caught], ["Wide"])
        self.assertIn("outside the radius", run.caught[0]["fault"])
        self.assertEqual([r["recall"] for r in run.sections["range"]], [1.0, 1.0])

    def test_hits_that_a_filter_forbids(self):
        run = self.run_with("Leaks", "Honest")
        run.build_all(columns=True)
        filtering.filtered(run, ["random", "far"], [0.1, 0.01], queries=20)
        self.assertEqual({c["library"] for c in run.caught}, {"Leaks"})
        self.assertIn("the filter forbids", run.caught[0]["fault"])
        mine = [r for r in run.sections["filter"] if r["library"] == "Honest"]
        self.assertEqual(len(mine), 4)
        self.assertEqual({(r["recall"], r["full_share"]) for r in mine}, {(1.0, 1.0)})

    def test_the_caught_are_out_of_the_table(self):
        _, _, run = self.faults("MadeUp")
        table = tables.search_table(run.rows, 1, False, run.caught)
        line = next(s for s in table.splitlines() if s.startswith("MadeUp:FLAT"))
        self.assertIn("caught", line)


class Record(Scratch):
    """What a reader of the JSON counts on; a key that goes missing fails here."""

    FIELDS = ("library", "version", "index", "build_params", "search_params", "dataset", "threads", "batch", "recall", "qps",
              "p50_us", "p99_us", "build_s", "peak_rss_bytes", "index_bytes", "open_s")

    def test_the_fields_of_a_result(self):
        run = self.run_with("Honest")
        run.build_all(repeats=3)
        run.search()
        self.assertEqual(SCHEMA, self.FIELDS)
        self.assertEqual(len(run.rows), 2)
        for row in json.loads(json.dumps(run.rows)):
            self.assertEqual(tuple(row), self.FIELDS)
            for key in ("library", "version", "index", "dataset"):
                self.assertIsInstance(row[key], str)
            for key in ("build_params", "search_params"):
                self.assertIsInstance(row[key], dict)
            for key in ("threads", "batch", "peak_rss_bytes", "index_bytes"):
                self.assertGreater(row[key], 0, key)
                self.assertIsInstance(row[key], int, key)
            for key in ("recall", "qps", "build_s", "open_s"):
                self.assertGreater(row[key], 0, key)
            for key in ("p50_us", "p99_us"):
                if row["batch"] == 1:
                    self.assertGreater(row[key], 0)
                else:
                    self.assertIsNone(row[key])

    def test_memory_of_searching_is_less_than_of_the_process(self):
        run = self.run_with("Honest")
        run.build_all(repeats=1)
        run.search()
        loaded = run.sections["loaded"][0]
        self.assertEqual(loaded["vectors_bytes"], run.dataset.base.nbytes)
        self.assertGreaterEqual(loaded["loaded_bytes"], 0)
        self.assertLess(loaded["loaded_bytes"], run.rows[0]["peak_rss_bytes"])

    def test_medians_of_three_rounds(self):
        run = self.run_with("Honest")
        run.build_all(repeats=3)
        run.search()
        for row, detail in zip(run.rows, run.sections["search_detail"]):
            self.assertEqual(len(detail["qps"]), 3)
            self.assertEqual(row["qps"], sorted(detail["qps"])[1])
        build = run.sections["build"][0]
        self.assertEqual(len(build["builds"]), 3)
        self.assertEqual(build["build_s"], sorted(build["builds"])[1])
        run.opening()
        self.assertEqual({r["times"] for r in run.sections["open"]}, {3})
        filtering.filtered(run, ["random"], [0.3], queries=10, settings=1)
        filtering.ranges(run, queries=10, targets=(10,))
        living.inserting(run, (100,), 200, 5, 10)
        living.mixed(run, 0.1, start_rows=100)
        for name in ("filter", "range", "insert", "mixed"):
            self.assertEqual([r["rounds"] for r in run.sections[name]], [3], name)

    def test_libraries_take_turns(self):
        """Round by round, each in a process of its own."""
        run = self.run_with("Honest", "Stale")
        run.build_all()
        asked, point = [], run._point
        run._point = lambda c, *more: (asked.append((c.library, run.opened(c, 1).process.pid)), point(c, *more))[1]
        run.search((False,))
        names = [n for n, _ in asked]
        self.assertEqual(names, ["Honest", "Stale", "Stale", "Honest", "Honest", "Stale"])
        pids = {n: {p for name, p in asked if name == n} for n in set(names)}
        self.assertFalse(pids["Honest"] & pids["Stale"])
        self.assertNotIn(os.getpid(), pids["Honest"] | pids["Stale"])

    def test_the_machine_is_written_down(self):
        run = self.run_with("Honest")
        run.build_all()
        run.search((False,))
        record = json.loads(json.dumps(run.record()))
        for key in ("date", "commit", "dirty", "cpu", "cores", "instruction_sets", "caches", "memory_bytes", "kernel",
                    "system", "compiler", "python", "load_at_start", "load_at_end", "transparent_huge_pages"):
            self.assertIn(key, record["machine"])
        for key in ("cpu", "cores", "instruction_sets", "compiler", "memory_bytes", "python"):
            self.assertTrue(record["machine"][key], key)
        for key in ("load_at_start", "load_at_end"):
            self.assertEqual(len(record["machine"][key]), 3)
        self.assertGreaterEqual(record["machine"]["other_cores"], 0)
        self.assertLessEqual(record["machine"]["other_cores"], record["machine"]["cores"] + 0.5)
        for key in ("probe", "settings", "seconds", "absent", "failed", "caught", "results", "sections"):
            self.assertIn(key, record)
        for key in ("dataset", "rows", "dim", "metric", "k", "threads", "queries", "rounds"):
            self.assertIn(key, record["settings"])
        self.assertEqual({r["version"] for r in record["results"]}, {"1"})

    def test_what_the_probe_measures(self):
        names = ("read_gbs_1", "read_gbs_all", "latency_ns", "random_lines_per_s_1", "random_lines_per_s_all",
                 "fma_gflops_1", "fma_gflops_all", "vnni_gmacs_1", "vnni_gmacs_all")
        found = machine.probe(seconds=0.01)
        if "missing" in found:
            self.skipTest(found["missing"])
        for name in names:
            self.assertGreater(found[name], 0, name)
        self.assertIn("missing", machine.probe("/no/such/probe"))


class Breakage(Scratch):
    def test_what_breaks_is_named_and_the_rest_goes_on(self):
        run = self.run_with("Crashes", "CrashesLater", "Raises", "Missing", "Honest")
        run.build_all()
        run.search()
        reasons = {f["library"]: (f["stage"], f["reason"]) for f in run.failed}
        self.assertEqual(reasons["Crashes"][0], "build")
        self.assertIn("SIGABRT", reasons["Crashes"][1])
        self.assertEqual(reasons["CrashesLater"][0], "search")
        self.assertIn("SIGABRT", reasons["CrashesLater"][1])
        self.assertIn("ValueError: dimension 8 is not to my taste", reasons["Raises"][1])
        self.assertIn("no_such_library_anywhere", run.absent[0]["reason"])
        self.assertEqual({r["library"] for r in run.rows}, {"Honest"})

    def test_time(self):
        run = self.run_with("Hangs", "Honest", timeout=3)
        run.build_all()
        self.assertEqual(run.failed[0]["reason"], "no end after 3 s")
        self.assertEqual([c.library for c in run.alive()], ["Honest"])

    def test_memory(self):
        run = self.run_with("Eats", "Honest", memory_limit=400 << 20)
        run.build_all()
        self.assertIn("the limit is 0.4 GB", run.failed[0]["reason"])
        self.assertEqual([c.library for c in run.alive()], ["Honest"])

    def test_nothing_is_left_running(self):
        run = self.run_with("Hangs", timeout=2)
        run.build_all()
        run.close()
        self.assertEqual(run.workers, {})

    def test_a_kept_build_is_used_again(self):
        first = self.run_with("Honest", reuse=True)
        first.build_all()
        first.close()
        second = self.run_with("Honest", reuse=True)
        second.build_all()
        self.assertTrue(second.candidates[0].built["kept"])
        second.search((False,))
        self.assertEqual(second.rows[0]["recall"], 1.0)

    def test_open_times(self):
        run = self.run_with("Honest")
        run.build_all()
        run.opening()
        self.assertEqual([r["cache"] for r in run.sections["open"]], ["cold", "warm"])
        self.assertTrue(all(r["open_s"] > 0 and r["first_query_us"] > 0 for r in run.sections["open"]))


class Files(Scratch):
    def bad(self, spec, *words):
        with self.assertRaises(datasets.BadFile) as caught:
            datasets.load(spec)
        for word in words:
            self.assertIn(word, str(caught.exception))

    def write(self, name, data):
        with open(self.path(name), "wb") as f:
            f.write(data)
        return self.path(name)

    def test_named_when_missing_or_wrong(self):
        self.bad("no-such-set", "no-such-set", "fashion-mnist")
        self.bad("hog1m@many", "many")
        self.bad(self.path("gone.fvecs"), "gone.fvecs", "no such file")
        self.bad(self.write("short.fvecs", b"\1\0"), "short.fvecs", "too short")
        self.bad(self.write("torn.fvecs", struct.pack("<i4f", 4, 1, 2, 3, 4) + b"\4\0"), "torn.fvecs", "dimension 4")
        self.bad(self.write("mixed.fvecs", struct.pack("<i2f", 2, 1, 2) + struct.pack("<i2f", 3, 1, 2)), "differ")
        self.bad(self.write("negative.bvecs", struct.pack("<i", -5) + b"12345"), "-5")
        self.bad(self.write("lies.fbin", struct.pack("<II", 10, 10) + b"\0" * 40), "10 x 10")
        self.bad(self.write("text.npy", b"hello"), "text.npy")
        self.bad(self.write("plain.csv", b"1,2"), "unknown format")
        self.bad(self.write("fake.hdf5", b"not hdf"), "fake.hdf5")
        np.save(self.path("line.npy"), np.zeros(5))
        self.bad(self.path("line.npy"), "not rows of vectors")
        np.save(self.path("a.npy"), np.zeros((50, 4), np.float32))
        np.save(self.path("b.npy"), np.zeros((5, 3), np.float32))
        self.bad(self.path("a.npy") + "," + self.path("b.npy"), "dimension 4", "3")
        np.save(self.path("nan.npy"), np.full((5, 4), np.nan, np.float32))
        self.bad(self.path("a.npy") + "," + self.path("nan.npy"), "NaN")
        self.bad(self.path("a.npy") + "," + self.path("a.npy") + ",manhattan", "manhattan")

    def test_every_format_is_read(self):
        rng = np.random.default_rng(2)
        rows = rng.integers(0, 255, (300, 6))
        vecio.write_vecs(self.path("x.fvecs"), rows.astype(np.float32))
        vecio.write_vecs(self.path("x.bvecs"), rows.astype(np.uint8))
        np.save(self.path("x.npy"), rows)
        with open(self.path("x.fbin"), "wb") as f:
            f.write(struct.pack("<II", 300, 6))
            rows.astype("<f4").tofile(f)
        for name in ("x.fvecs", "x.bvecs", "x.npy", "x.fbin"):
            data = datasets.load(self.path(name))
            # the last hundredth are the queries
            np.testing.assert_array_equal(data.base, rows[:-3])
            np.testing.assert_array_equal(data.queries, rows[-3:])
            self.assertEqual(data.metric, "l2")

    def test_ground_truth_is_kept(self):
        data = self.dataset()
        first = data.truth(50)
        files = os.listdir(os.path.join(datasets.CACHE, "truth"))
        self.assertEqual(len(files), 1)
        np.testing.assert_array_equal(data.truth(50)[0], first[0])
        # other content under the same name is other truth
        self.assertNotEqual(self.dataset(seed=9).key, data.key)

    @unittest.skipUnless(os.path.isdir(datasets.IMAGES), "dataset-fashion-mnist is not installed")
    def test_the_generator_is_deterministic(self):
        from bench.datasets import hog
        images = vecio.read_idx(os.path.join(datasets.IMAGES, "t10k-images-idx3-ubyte.gz"))[:50]
        one, two = hog._chunk((1, 0, images)), hog._chunk((1, 0, images))
        np.testing.assert_array_equal(one[0], two[0])
        self.assertEqual(one[0].shape, (50, 128))
        self.assertFalse(np.array_equal(one[0], hog._chunk((1, 1, images))[0]))
        # SIFT-like: clipped at 0.2 of a norm of 512, then stretched
        norms = np.linalg.norm(one[0].astype(float), axis=1)
        self.assertTrue(((norms > 500) & (norms < 524)).all())


class CommandLine(Scratch):
    def call(self, *arguments):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = main(list(arguments))
            except SystemExit as e:
                code = e.code
        return code, out.getvalue() + err.getvalue()

    def test_mistakes_are_named(self):
        for arguments, word in ((["--only", "fais"], "unknown library fais"), (["--threads", "0"], "--threads 0"),
                                (["--threads", "x"], "x"), (["--workload", "dance"], "dance"),
                                (["--k", "0"], "--k"), (["--filter-kinds", "blue"], "blue"),
                                (["--filter-shares", "0.5"], "--filter-shares")):
            code, text = self.call(*arguments)
            self.assertEqual(code, 2, arguments)
            self.assertIn(word, text)

    def test_a_missing_data_set_is_named_and_the_next_goes_on(self):
        self.dataset()
        good = self.path("base.npy") + "," + self.path("queries.npy")
        out = self.path("out.json")
        code, text = self.call("--dataset", self.path("gone.npy") + ";" + good, "--only", "numpy,no_such".split(",")[0],
                               "--queries", "20", "--json", out, "--no-probe", "--point-seconds", "1")
        self.assertEqual(code, 1)
        self.assertIn("gone.npy: no such file", text)
        self.assertIn("numpy:FLAT", text)
        with open(out) as f:
            rows = json.load(f)
        self.assertEqual({r["recall"] for r in rows}, {1.0})
        with open(self.path("out.run.json")) as f:
            records = json.load(f)
        self.assertIn("no such file", records[0]["missing"])
        self.assertEqual(records[1]["settings"]["k"], 10)
        for key in ("cpu", "instruction_sets", "compiler", "commit", "load_at_start"):
            self.assertIn(key, records[1]["machine"])

    def test_absent_rivals_are_reported(self):
        run = self.run_with()
        run.choose(parse_only("numpy,numpy:HNSW"))
        self.assertEqual([c.name for c in run.candidates], ["numpy:FLAT"])
        run.choose({"numpy": {"HNSW"}})
        self.assertIn("no such index", run.absent[0]["reason"])

    def test_a_library_that_setup_did_not_get(self):
        from bench.harness import run as module
        old = module.installed
        module.installed = lambda: {"hnswlib": {"status": "absent", "reason": "pip install hnswlib: no compiler"}}
        self.addCleanup(setattr, module, "installed", old)
        run = self.run_with()
        run.choose(parse_only("hnswlib,faiss,numpy"))
        self.assertEqual({a["library"]: a["reason"] for a in run.absent}, {
            "hnswlib": "pip install hnswlib: no compiler", "faiss": "not installed (make bench-setup)"})
        self.assertEqual([c.library for c in run.candidates], ["numpy"])


class Wrapper(unittest.TestCase):
    """What the ann-benchmarks runner calls, on a stand-in for vecdb."""

    def setUp(self):
        import types
        calls = self.calls = []

        class Collection:
            def insert(self, rows):
                calls.append(("insert", len(rows["id"]), rows["v"].dtype.name))

            def create_index(self, field, kind, metric_type, **params):
                calls.append(("index", kind, metric_type, params))

            def optimize(self):
                calls.append(("optimize",))

            def load(self):
                calls.append(("load",))

            def search(self, queries, limit, **params):
                calls.append(("search", np.shape(queries), limit, params))
                nq = 1 if np.ndim(queries) == 1 else len(queries)
                return types.SimpleNamespace(ids=np.arange(nq * limit).reshape(nq, limit))

        database = types.SimpleNamespace(create_collection=lambda name, fields: Collection(),
                                         close=lambda: calls.append(("close",)))
        module = types.ModuleType("vecdb")
        module.open = lambda: database
        module.Field = lambda *a, **k: (a, k)
        old = sys.modules.get("vecdb")
        sys.modules["vecdb"] = module
        self.addCleanup(lambda: sys.modules.pop("vecdb", None) if old is None else sys.modules.update(vecdb=old))

    def test_fit_query_batch(self):
        from bench.ann_benchmarks.module import VecDB
        index = VecDB("angular", "HNSW", {"M": 16})
        index.fit(np.zeros((30000, 4)))
        self.assertEqual(self.calls, [("insert", 20000, "float32"), ("insert", 10000, "float32"),
                                      ("index", "HNSW", "COSINE", {"M": 16}), ("optimize",), ("load",)])
        index.set_query_arguments(64)
        self.assertEqual(index.query(np.zeros(4), 10).tolist(), list(range(10)))
        self.assertEqual(self.calls[-1], ("search", (4,), 10, {"ef": 64}))
        index.batch_query(np.zeros((3, 4)), 10)
        self.assertEqual(index.get_batch_results().shape, (3, 10))
        self.assertIn("ef=64", str(index))
        index.done()
        self.assertEqual(self.calls[-1], ("close",))

    def test_on_vecdb_itself(self):
        """The calls in the runner's order, on the library of this tree."""
        sys.modules.pop("vecdb")
        try:
            import vecdb
        except (ImportError, OSError) as e:
            self.skipTest("vecdb is not built: %s" % e)
        self.assertTrue(vecdb.__version__)
        from bench.ann_benchmarks.module import VecDB
        rng = np.random.default_rng(8)
        base, queries = rng.standard_normal((2000, 16)).astype(np.float32), rng.standard_normal((40, 16)).astype(np.float32)
        for metric, ours in (("euclidean", "l2"), ("angular", "cosine"), ("dot", "ip")):
            true, _ = exact.knn(ours, base, queries, 10)
            for kind, params, values in (("HNSW", {"M": 16, "efConstruction": 200}, (10, 400)),
                                         ("IVF_RABITQ", {"nlist": 16}, (1, 16)), ("FLAT", {}, (None, None))):
                index = VecDB(metric, kind, params)
                index.fit(base)
                recalls = []
                for value in values:
                    index.set_query_arguments(*([] if value is None else [value]))
                    single = [index.query(q, 10) for q in queries]
                    index.batch_query(queries, 10)
                    batch = index.get_batch_results()
                    self.assertEqual(np.shape(batch), (40, 10))
                    recalls.append(np.mean([np.isin(a, t).mean() for a, t in zip(single, true)]))
                    self.assertAlmostEqual(np.mean([np.isin(a, t).mean() for a, t in zip(batch, true)]), recalls[-1],
                                           delta=0.03)
                self.assertGreaterEqual(recalls[1], 0.99, (metric, kind))
                self.assertLessEqual(recalls[0], recalls[1])
                if kind == "IVF_RABITQ":
                    self.assertLess(recalls[0], 0.9)        # the argument does arrive
                self.assertIn(kind, str(index))
                index.done()

    def test_the_swept_parameter_follows_the_index(self):
        from bench.ann_benchmarks.module import VecDB
        index = VecDB("euclidean", "IVF_FLAT", {"nlist": 16})
        index.set_query_arguments(8)
        self.assertIn("nprobe=8", str(index))
        with self.assertRaises(NotImplementedError):
            VecDB("jaccard")


class Report(Scratch):
    def record(self, **rows):
        """A record with one curve a library: library=[(recall, qps), ...]."""
        results = [dict(zip(SCHEMA, (lib, "1", "HNSW", {}, {"ef": i}, "tiny", 1, 1, r, q, 1, 2, 3.0, 4e6, 5e6, 0.1)))
                   for lib, points in rows.items() for i, (r, q) in enumerate(points)]
        return {"machine": {"date": "d", "commit": "c", "cpu": "x", "cores": 2, "instruction_sets": ["avx2"],
                            "caches": {}, "memory_bytes": 1e9, "transparent_huge_pages": "madvise", "system": "s",
                            "kernel": "k", "compiler": "cc", "python": "3", "load_at_start": [0, 0, 0],
                            "load_at_end": [0, 0, 0]},
                "probe": {"missing": "not built"}, "settings": {"dataset": "tiny", "rows": 1, "dim": 2, "metric": "l2",
                                                               "k": 10},
                "seconds": 1, "absent": [{"library": "glass", "reason": "no wheel"}], "failed": [], "caught": [],
                "results": results, "sections": {}, "file": "a.json"}

    def test_says_where_vecdb_loses(self):
        record = self.record(vecdb=[(0.9, 100), (0.99, 50)], hnswlib=[(0.9, 60), (0.999, 55)])
        text = report.page([record], {})
        self.assertIn("at recall 0.99 behind hnswlib:HNSW", text)
        self.assertIn("does not reach recall 0.999, hnswlib:HNSW do", text)
        self.assertNotIn("at recall 0.9 behind", text)
        self.assertIn("| Search | 1 of 3 | on tiny, 1 thread, one query at a time at recall 0.99: hnswlib:HNSW is", text)
        self.assertLess(text.index("| Search |"), text.index("## The machine"))
        self.assertGreater(text.index("at recall 0.99 behind hnswlib:HNSW"), text.index("## Every comparison lost"))
        self.assertIn("absent: glass: no wheel", text)

    def test_says_when_it_does_not(self):
        text = report.page([self.record(vecdb=[(0.9995, 100)], hnswlib=[(0.9995, 60)])], {})
        self.assertIn("no rival was faster", text)
        self.assertIn("0.60", text)
        self.assertNotIn("Every comparison lost", text)

    def test_says_it_in_short(self):
        record = self.record(vecdb=[(0.96, 100), (0.9995, 50)], hnswlib=[(0.96, 40), (0.9995, 20)], usearch=[(0.96, 30)])
        text = report.page([record], {})
        self.assertIn("| graphs, tiny, 1 thread, one query at a time | 100, 2.50 x hnswlib:HNSW |", text)
        record["settings"]["dataset"] = "tiny@10"       # cut: not in the table of whole data sets
        self.assertNotIn("## In short", report.page([record], {}))
        self.assertNotIn("## In short", report.page([self.record(vecdb=[(0.96, 100)])], {}))

    def test_says_when_vecdb_was_absent(self):
        self.assertIn("vecdb was not in these runs", report.page([self.record(hnswlib=[(0.9, 60)])], {}))

    def test_the_caught_do_not_count(self):
        record = self.record(vecdb=[(0.9995, 100)], hnswlib=[(0.9995, 600)])
        record["caught"] = [{"library": "hnswlib", "index": "HNSW", "stage": "search", "fault": "made it up"}]
        text = report.page([record], {})
        self.assertIn("no rival was faster", text)
        self.assertIn("caught: hnswlib:HNSW: made it up", text)

    def test_no_results_yet(self):
        self.assertIn("no results yet", report.page([], {}))

    def test_without_results_the_page_stays(self):
        with open(self.path("page.md"), "w") as f:
            f.write("what was measured before")
        os.mkdir(self.path("empty"))
        with contextlib.redirect_stderr(io.StringIO()) as err:
            self.assertEqual(report.main(["--folder", self.path("empty"), "--output", self.path("page.md")]), 1)
        self.assertIn("no results", err.getvalue())
        with open(self.path("page.md")) as f:
            self.assertEqual(f.read(), "what was measured before")

    def full_record(self):
        """Every workload, in which vecdb is ahead of one rival and behind another."""
        record = self.record(vecdb=[(0.9, 100), (0.9995, 50)], hnswlib=[(0.9, 60), (0.9995, 55)])
        rows = {name: [] for name in ("build", "loaded", "insert", "filter", "open", "mixed", "range")}
        for library, speed in (("vecdb", 10.0), ("slower", 8.0), ("faster", 12.5)):
            row = {"library": library, "version": "1", "index": "HNSW", "build_params": {}, "search_params": {"ef": 1},
                   "dataset": "tiny", "qps": speed, "recall": 0.99, "p50_us": 5, "p99_us": 9, "rounds": 3}
            rows["build"].append(dict(row, build_s=1 / speed, builds=[1 / speed] * 3, rows_per_s=speed, threads=2,
                                      peak_rss_bytes=1e6 / speed, index_bytes=2e6 / speed, save_s=0))
            rows["loaded"].append({"library": library, "index": "HNSW", "build_params": {}, "vectors_bytes": 4e6,
                                   "loaded_bytes": 2e6 / speed})
            rows["insert"].append(dict(row, durability="full", batch=100, rows_per_s=speed, rows=1000,
                                       after_insert={"recall": 0.97, "p50_us": 3, "p99_us": 4, "qps": speed}))
            for share in attributes.SELECTIVITIES:
                rows["filter"].append(dict(row, kind="far", selectivity=share, full_share=0.875))
            # below 0.95 it answers another question
            rows["filter"].append(dict(row, kind="near", selectivity=0.5, full_share=1,
                                       recall=0.5 if library == "faster" else 1))
            for cache in ("cold", "warm"):
                rows["open"].append(dict(row, cache=cache, open_s=1 / speed, first_query_us=1))
            rows["mixed"].append(dict(row, durability="normal", reads_per_s=speed, read_p50_us=1, read_p99_us=2,
                                      rows_per_s=speed, alone_reads_per_s=3, alone_p99_us=4))
            rows["range"].append(dict(row, target=10, radius=1.0))
        record["sections"] = rows
        return record

    def test_every_workload_has_its_table_and_its_losses(self):
        text = report.page([self.full_record()], {})
        for heading in ("Build, memory, disk", "Insert, and search right after it", "Filtered search, far", "Filtered search, near",
                        "Opening, and the first query", "A reader beside a writer", "Range search",
                        "Memory of a process that searches"):
            self.assertIn("### " + heading, text)
        self.assertIn("| library:index | parameters | 0.01 % | 0.1 % | 1 % | 5 % | 10 % | 30 % | 60 % | 90 % | 100 % |", text)
        self.assertIn("12.5 (0.990, 88 %)", text)
        for words in ("filtering far at 0.01 % (recall 0.95 and more) on tiny behind faster:HNSW (1.25 times as fast)",
                      "ranges of about 10 rows", "inserting 100 at a time with durability full on tiny behind faster:HNSW",
                      "opening and asking once, cold cache, on tiny behind faster:HNSW", "reads beside a writer on tiny behind",
                      "build, graphs on tiny behind faster:HNSW (1.25 times as fast)", "bytes on disk, graphs on tiny behind",
                      "searching after inserts of 100 with durability full", "| Filtered search | 9 of 10 |",
                      "memory of searching, graphs on tiny behind faster:HNSW (1.25 times less)"):
            self.assertIn(words, text)
        self.assertNotIn("filtering near at 50 % (recall 0.95 and more) on tiny behind", text)
        self.assertNotIn("slower", text[:text.index("## The machine")])
        # fewer rows in, and searched: another question
        record = self.full_record()
        for r in record["sections"]["insert"]:
            r["rows"] = 1000 if r["library"] == "vecdb" else 300
        self.assertNotIn("searching after inserts", report.page([record], {}))
        # what is built in no time was not built: no rival there, but its file counts
        record = self.full_record()
        for r in record["sections"]["build"]:
            r["build_s"] = 1e-5 if r["library"] == "faster" else r["build_s"]
        text = report.page([record], {})
        self.assertNotIn("build, graphs on tiny behind", text)
        self.assertIn("bytes on disk, graphs on tiny behind", text)
        # the one search curve: behind at the recall where hnswlib has 55 to 50
        self.assertIn("at recall 0.999 behind hnswlib:HNSW", text)

    def test_a_busy_machine_is_said(self):
        record = self.full_record()
        self.assertNotIn("Other programs kept", report.page([record], {}))
        record["machine"].update(load_at_start=[6.5, 3, 2], load_at_end=[1.5, 3, 2])
        self.assertNotIn("Other programs kept", report.page([record], {}))
        record["machine"]["load_at_end"] = [5.5, 3, 2]
        self.assertIn("Other programs kept the machine busy", report.page([record], {}))
        record["machine"]["other_cores"] = 0.1
        self.assertNotIn("Other programs kept", report.page([record], {}))
        record["machine"]["other_cores"] = 1.5
        self.assertIn("alone (libraries still took turns): a (1.5 cores).", report.page([record], {}))

    def test_what_was_not_run_is_said(self):
        text = report.not_run_text({"fashion-mnist-graphs"}, {"fashion-mnist-range": 20000})
        cut, nothing = text.split("Not at all: ")
        self.assertIn("Only over the first 20,000 rows of their data sets: `fashion-mnist-range`.", cut)
        self.assertIn("`hog1m-range`", nothing)
        self.assertNotIn("`fashion-mnist-range`", nothing)
        self.assertNotIn("`fashion-mnist-graphs`", text)
        everything = {s.name for s in plan.steps(None, 2)}
        self.assertIn("Every step", report.not_run_text(everything, {}))

    def test_the_page_can_be_made_again_from_what_is_kept_beside_it(self):
        out, page = self.path("out"), self.path("docs/page.md")
        os.makedirs(os.path.join(out, "full-10000"))
        record = self.full_record()
        record["sections"]["search_detail"] = [{"qps": [1, 2, 3]}]
        for name in (os.path.join(out, "quick"), os.path.join(out, "full-10000", "fashion-mnist-range")):
            with open(name + ".json", "w") as f:
                json.dump(record["results"], f)
            with open(name + ".run.json", "w") as f:
                json.dump([record], f)
        old, report.OUT = report.OUT, out
        self.addCleanup(setattr, report, "OUT", old)
        with contextlib.redirect_stdout(io.StringIO()):
            self.assertEqual(report.main(["--output", page]), 0)
            with open(page) as f:
                first = f.read()
            self.assertIn("Only over the first 10,000 rows of their data sets: `fashion-mnist-range`.", first)
            shutil.rmtree(out)
            os.remove(page)
            self.assertEqual(report.main(["--output", page]), 0)
        with open(page) as f:
            self.assertEqual(f.read(), first)
        with open(self.path("docs/page/results.json")) as f:
            self.assertNotIn("search_detail", f.read())

    def test_whole_runs_stand_before_cut_ones(self):
        for folder, names in (("", ["quick"]), ("full", ["fashion-mnist-range"]),
                              ("full-20000", ["fashion-mnist-range", "hog1m-range", "state"]), ("full-5000", ["hog1m-range"])):
            os.makedirs(self.path(folder), exist_ok=True)
            for name in names:
                for ending in (".json", ".run.json"):
                    with open(self.path(os.path.join(folder, name + ending)), "w") as f:
                        f.write("[]")
        files, measured, scaled = report.gather(self.folder)
        self.assertEqual([os.path.relpath(f, self.folder) for f in files],
                         ["quick.json", "full/fashion-mnist-range.json", "full-20000/hog1m-range.json"])
        self.assertEqual((measured, scaled), ({"fashion-mnist-range"}, {"hog1m-range": 20000}))


class Cells(unittest.TestCase):
    GOOD = {"kind": "far", "share": 0.01, "k": 10, "recall": 0.97, "fewer": 0, "qps": 9000, "median_us": 100.0, "p99_us": 250.0,
            "scan_us": 80.0, "unfiltered_us": 2500.0, "p99_once_us": 290.0, "library": "vecdb", "index": "HNSW"}

    def test_a_cell_is_held_to_its_bars(self):
        for changes, fault in (({}, ""), ({"recall": 0.9499}, " !recall"), ({"fewer": 1}, " !rows"), ({"scan_us": 60.0}, " !slow"),
                               ({"unfiltered_us": 60.0}, " !slow"), ({"p99_once_us": 301.0}, " !tail"),
                               ({"recall": 0.5, "p99_once_us": 900.0}, " !recall !tail")):
            self.assertEqual(cells.faults(dict(self.GOOD, **changes)), fault, changes)

    def test_the_table_and_the_sentence(self):
        rows = [self.GOOD, dict(self.GOOD, k=100, recall=0.9, scan_us=50.0), dict(self.GOOD, share=0.3, p99_us=320.0, p99_once_us=420.0)]
        lines = cells.table(rows, tables.markdown).splitlines()
        self.assertEqual(len(lines), 2 + 2)
        self.assertIn("| far | 1 % | 0.970  10,000  1.25  2.9 (2.5) | 0.900  10,000  2.00  2.9 (2.5) !recall !slow |", lines[2])
        self.assertIn("| far | 30 % | 0.970  10,000  1.25  4.2 (3.2) !tail | - |", lines[3])
        self.assertEqual(cells.summary(rows), "Of 3 cells 1 have a recall below 0.95 (lowest 0.9000), 0 have queries with fewer hits than "
                         "rows that pass, 1 take more than 1.5 times the better plan (most 2.00), 1 have a 99th percentile above "
                         "3 times the median (most 4.2; 1 and 3.2 of queries' middle times).")


class Suite(Scratch):
    """bench/suite in processes of its own, over the tests' libraries and tiny data."""

    def setUp(self):
        super().setUp()
        self.dataset(n=200, nq=30)
        self.data = self.path("base.npy") + "," + self.path("queries.npy")
        self.results = self.path("results")

    def step(self, name, only, *more):
        return {"name": name, "seconds": 5, "arguments": [
            "--dataset", self.data, "--adapters", CHEATS, "--only", only, "--k", "5", "--queries", "10", "--no-probe",
            "--min-seconds", "0", "--point-seconds", "0.2", "--mode", "single", *more]}

    def command(self, *steps):
        with open(self.path("plan.json"), "w") as f:
            json.dump(list(steps), f)
        return [sys.executable, os.path.join(ROOT, "bench", "suite"), "full", "--plan", self.path("plan.json"), "--folder",
                self.results, "--output", self.path("page.md"), "--any-commit"]

    def environment(self, slow="0"):
        return dict(os.environ, VECDB_TEST_SLOW=slow, VECDB_BENCH_DATA=self.path("data"), VECDB_BENCH_NO_VENV="1")

    def run_suite(self, *steps, more=()):
        done = subprocess.run(self.command(*steps) + list(more), env=self.environment(), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=120)
        return done.returncode, done.stdout

    def state(self):
        with open(os.path.join(self.results, "state.json")) as f:
            return json.load(f)

    def record(self, name):
        with open(os.path.join(self.results, name + ".run.json")) as f:
            return json.load(f)[0]

    def until(self, what, seconds=60):
        import time
        end = time.monotonic() + seconds
        while not what():
            self.assertLess(time.monotonic(), end, "it did not come to that")
            time.sleep(0.02)

    def stopped_in_the_middle(self, number):
        """Stops the suite by a signal while its second step builds, and runs it again."""
        steps = [self.step("first", "honest"), self.step("second", "slow"), self.step("third", "honest")]
        child = subprocess.Popen(self.command(*steps), env=self.environment(slow="60"), stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            log = os.path.join(self.results, "second.log")

            def building():
                try:
                    with open(log) as f:
                        return "build slow:FLAT" in f.read()
                except OSError:
                    return False
            self.until(building)
            self.until(lambda: len(self.descendants(child.pid)) >= 2)       # the comparison and its worker
            below = self.descendants(child.pid)
            os.kill(child.pid, number)
            code = child.wait(60)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
        # nothing goes on measuring behind its back
        self.until(lambda: not any(os.path.exists("/proc/%d" % p) and self.is_ours(p) for p in below))
        self.assertEqual(list(self.state()), ["first"])
        self.assertFalse(os.path.exists(os.path.join(self.results, "second.json")))
        first = os.stat(os.path.join(self.results, "first.json")).st_mtime_ns

        again, text = self.run_suite(*steps)
        self.assertEqual(again, 0, text)
        self.assertIn("1 of 3 steps are done already", text)
        self.assertIn("0/2 steps", text)
        self.assertEqual(os.stat(os.path.join(self.results, "first.json")).st_mtime_ns, first)
        self.assertEqual(list(self.state()), ["first", "second", "third"])
        with open(self.path("page.md")) as f:
            page = f.read()
        for name in ("first", "second", "third"):
            self.assertIn(": " + name + "\n", page)
        # and now there is nothing left to do
        once_more, text = self.run_suite(*steps)
        self.assertIn("3 of 3 steps are done already", text)
        return code

    def descendants(self, pid):
        """Its children and theirs."""
        parents = {}
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    with open("/proc/%s/stat" % name) as f:
                        parents[int(name)] = int(f.read().rsplit(")", 1)[1].split()[1])
                except OSError:
                    continue
        found, more = set(), {pid}
        while more:
            more = {p for p, parent in parents.items() if parent in more} - found
            found |= more
        return found

    def is_ours(self, pid):
        try:
            with open("/proc/%d/cmdline" % pid) as f:
                text = f.read()
            return "bench" in text
        except OSError:
            return False

    def test_stopped_by_hand_it_goes_on_where_it_was(self):
        self.assertEqual(self.stopped_in_the_middle(signal.SIGINT), 130)

    def test_killed_outright_it_goes_on_where_it_was(self):
        self.assertEqual(self.stopped_in_the_middle(signal.SIGKILL), -signal.SIGKILL)

    def test_what_breaks_is_named_in_the_report_and_the_rest_goes_on(self):
        gone = self.step("gone", "honest")
        gone["arguments"][1] = self.path("no-such-file.fvecs")
        code, text = self.run_suite(
            gone, self.step("broken", "crashes,crashes-later,raises,missing,glass,eats,wrong-ids,honest",
                            "--memory-limit", "0.4"), self.step("hanging", "hangs", "--timeout", "2"),
            self.step("whole", "honest"))
        self.assertEqual(code, 1, text)     # a step without its data set did not end well
        self.assertIn("gone ended with 1", text)
        broken = self.record("broken")
        reasons = {f["library"]: f["reason"] for f in broken["failed"]}
        self.assertIn("SIGABRT", reasons["crashes"])
        self.assertIn("SIGABRT", reasons["crashes-later"])
        self.assertIn("not to my taste", reasons["raises"])
        self.assertIn("the limit is 0.4 GB", reasons["eats"])
        self.assertEqual(self.record("hanging")["failed"][0]["reason"], "no end after 2 s")
        absent = {a["library"]: a["reason"] for a in broken["absent"]}
        self.assertIn("no_such_library_anywhere", absent["missing"])
        self.assertIn("glass", absent)
        self.assertEqual({r["library"] for r in broken["results"]}, {"honest", "wrong-ids"})
        with open(self.path("page.md")) as f:
            page = f.read()
        for words in ("no-such-file.fvecs: no such file", "absent: missing", "absent: glass", "failed: crashes:FLAT",
                      "failed: hangs:FLAT", "no end after 2 s", "failed: eats:FLAT", "failed: raises:FLAT",
                      "caught: wrong-ids:FLAT", "## base"):
            self.assertIn(words, page)
        # what failed is tried again, what did not is not
        code, text = self.run_suite(gone, self.step("whole", "honest"))
        self.assertIn("1 of 2 steps are done already", text)

    def test_other_arguments_or_commits_are_measured_anew(self):
        code, text = self.run_suite(self.step("one", "honest"))
        self.assertEqual(code, 0, text)
        made = suite.Suite(self.results, plan.read(self.path("plan.json")))
        self.assertTrue(made.done(made.steps[0]))
        made.head = "another"
        self.assertFalse(made.done(made.steps[0]))
        made.any_commit = True
        self.assertTrue(made.done(made.steps[0]))
        made.steps[0].arguments.append("--rounds")
        self.assertFalse(made.done(made.steps[0]))
        os.remove(os.path.join(self.results, "one.run.json"))
        self.assertFalse(suite.Suite(self.results, plan.read(self.path("plan.json"))).done(made.steps[0]))
        # a torn state file is no reason to stop
        with open(os.path.join(self.results, "state.json"), "w") as f:
            f.write('{"one": ')
        self.assertEqual(suite.Suite(self.results, []).state, {})

    def test_two_at_once_are_kept_apart(self):
        import fcntl
        os.makedirs(self.results)
        with open(os.path.join(self.results, "lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            code, text = self.run_suite(self.step("one", "honest"))
        self.assertEqual(code, 2)
        self.assertIn("another suite", text)

    def test_list_and_only(self):
        steps = [self.step("one", "honest"), self.step("two", "honest")]
        code, text = self.run_suite(*steps, more=["--list"])
        self.assertEqual(code, 0)
        self.assertIn("2 steps, 0 done", text)
        code, text = self.run_suite(*steps, more=["--only", "three"])
        self.assertEqual(code, 2)
        self.assertIn("no step three (known: one two)", text)
        code, text = self.run_suite(*steps, more=["--only", "two"])
        self.assertEqual(list(self.state()), ["two"])
        code, text = self.run_suite(*steps, more=["--list"])
        self.assertIn("2 steps, 1 done", text)

    def test_the_plan_has_everything(self):
        for scale in (None, 20000):
            steps = plan.steps(scale, 2)
            names = [s.name for s in steps]
            self.assertEqual(len(names), len(set(names)))
            text = {w: " ".join(" ".join(s.arguments) for s in steps if w in s.arguments[5].split(",")) for w in (
                "search", "build", "insert", "filter", "open", "mixed", "range")}
            for workload, arguments in text.items():
                self.assertTrue(arguments, workload)
                self.assertIn("vecdb", arguments)
            known = {i for s in steps for i in s.arguments[3].split(",")}
            self.assertEqual({i.partition(":")[0] for i in known}, set(adapters.LIBRARIES))
            for s in steps:
                parse_only(s.arguments[3])
                self.assertEqual("@20000" in s.arguments[1], scale is not None)
                self.assertIn("vecdb", s.arguments[3])
            for kind in attributes.KINDS:
                self.assertIn("--filter-kinds " + kind, text["filter"])
        self.assertEqual(plan.rows_of("small"), plan.SMALL)
        self.assertIsNone(plan.rows_of(""))
        for bad in ("tiny", "-5", "10"):
            with self.assertRaises(ValueError):
                plan.rows_of(bad)

    def test_the_estimate_learns(self):
        steps = [plan.Step(n, [], 10) for n in "abcd"]
        out = io.StringIO()
        progress = suite.Progress(steps, {s.name: s.seconds for s in steps}, out)
        self.assertEqual(progress.left(), 40)
        progress.ended(steps[0], 30)        # three times as long as guessed
        self.assertEqual(progress.left(), 90)
        progress.show(steps[1])
        self.assertIn("1/4 steps", out.getvalue())
        self.assertIn("1 min 30 s to go: b", out.getvalue())
        out.isatty = lambda: True
        progress.show(steps[1], 5)
        self.assertRegex(out.getvalue(), r"\[#{11}\.{19}\] 1/4 steps")


class Processes(unittest.TestCase):
    def test_resident_counts_children(self):
        child = subprocess.Popen([sys.executable, "-c", "import time; x = bytearray(64 << 20); time.sleep(30)"])
        try:
            for _ in range(100):
                if process.resident(os.getpid()) - process.resident(child.pid) < process.resident(os.getpid()) \
                        and process.resident(child.pid) > 64 << 20:
                    break
                import time
                time.sleep(0.05)
            self.assertGreater(process.resident(os.getpid()), process.resident(child.pid))
            self.assertGreater(process.resident(child.pid), 64 << 20)
        finally:
            child.kill()
            child.wait()

    def test_disk_bytes_of_a_sparse_file(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "f"), "wb") as f:
                f.truncate(100 << 20)
            self.assertLess(process.disk_bytes(folder), 1 << 20)


if __name__ == "__main__":
    unittest.main()
