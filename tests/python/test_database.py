"""Databases: opening, closing, names, aliases, files, and many threads."""

import copy
import gc
import os
import pickle
import subprocess
import sys
import threading
import unittest

from support import Case, ROOT, film_columns, film_vector, needs_call, needs_disk, needs_filters, needs_numpy, np, plain, vecdb
from vecdb import Field

FIELDS = [Field("id", "INT64", primary_key=True), Field("v", "FLOAT_VECTOR", dim=2)]


class Copies(Case):
    """A copy of a handle would close it a second time, behind the back of the first."""

    def test_refused(self):
        rows = self.db.create_collection("a", FIELDS)
        rows.insert({"id": [1], "v": [[0, 1]]})
        with rows.query_iterator() as iterator:
            for one in (self.db, rows, iterator):
                for copied in (copy.copy, copy.deepcopy, pickle.dumps):
                    with self.assertRaisesRegex(TypeError, "neither copied nor sent to another process"):
                        copied(one)
        gc.collect()
        self.assertEqual(rows.count(), 1)


class Names(Case):
    def test_collections(self):
        self.assertEqual(self.db.collections(), [])
        for name in ("b", "a", "ünï", "with space"):
            self.db.create_collection(name, FIELDS)
        self.assertEqual(sorted(self.db.collections()), sorted(["a", "b", "with space", "ünï"]))
        self.assertIn("a", self.db)
        self.assertNotIn("zz", self.db)
        self.assertNotIn(5, self.db)
        self.assertEqual(self.db["a"].name, "a")

    def test_refused(self):
        self.db.create_collection("a", FIELDS)
        with self.assertRaises(vecdb.ExistsError):
            self.db.create_collection("a", FIELDS)
        with self.assertRaises(vecdb.NotFoundError) as caught:
            self.db.collection("nope")
        self.assertIsInstance(caught.exception, KeyError)
        self.assertIn("nope", str(caught.exception))
        self.assertEqual(caught.exception.code, "VECDB_ERR_NO_SUCH")
        for bad in ("", "x" * 256, "a\nb", "\x7f"):
            with self.assertRaises(vecdb.VecdbError, msg=repr(bad)):
                self.db.create_collection(bad, FIELDS)
        with self.assertRaises(vecdb.InvalidError):
            self.db.create_collection("a\0b", FIELDS)
        with self.assertRaises(TypeError):
            self.db.create_collection(5, FIELDS)

    def test_schemas_refused(self):
        vector, key = FIELDS[1], FIELDS[0]
        for name, fields in {
            "no key": [vector],
            "two keys": [key, Field("k", "INT64", primary_key=True), vector],
            "no vector dim": [key, Field("v", "FLOAT_VECTOR")],
            "dim too large": [key, Field("v", "FLOAT_VECTOR", dim=32769)],
            "binary dim": [key, Field("v", "BINARY_VECTOR", dim=12)],
            "twice the name": [key, vector, vector],
            "float key": [Field("id", "FLOAT", primary_key=True), vector],
            "nullable key": [Field("id", "INT64", primary_key=True, nullable=True), vector],
            "array of nothing": [key, Field("a", "ARRAY"), vector],
            "array of arrays": [key, Field("a", "ARRAY", element_type="ARRAY"), vector],
            "wrong default": [key, Field("n", "INT8", default="x"), vector],
            "default too large": [key, Field("n", "INT8", default=1000), vector],
            "nothing": [],
        }.items():
            with self.assertRaises(vecdb.VecdbError, msg=name):
                self.db.create_collection("c", fields)
        self.assertEqual(self.db.collections(), [])

    def test_drop_and_rename(self):
        a = self.db.create_collection("a", FIELDS)
        a.insert({"id": [1], "v": [[1, 2]]})
        self.db.rename_collection("a", "b")
        self.assertEqual(self.db.collections(), ["b"])
        self.assertEqual(self.db.collection("b").count(), 1)
        self.db.drop_collection("b")
        with self.assertRaises(vecdb.NotFoundError):
            a.count()
        with self.assertRaises(vecdb.NotFoundError):
            self.db.drop_collection("b")
        self.db.drop_collection("b", missing_ok=True)

    def test_aliases(self):
        self.db.create_collection("a", FIELDS).insert({"id": [1], "v": [[1, 2]]})
        self.db.create_collection("b", FIELDS)
        self.db.set_alias("current", "a")
        self.assertEqual(self.db.aliases(), ["current"])
        self.assertEqual((self.db.aliases("a"), self.db.aliases("b")), (["current"], []))
        self.assertEqual(self.db.collection("current").count(), 1)
        self.assertTrue(self.db.has_collection("current"))
        with self.assertRaises(vecdb.ExistsError):
            self.db.set_alias("current", "b")
        self.db.set_alias("current", "b", move=True)
        self.assertEqual(self.db.collection("current").count(), 0)
        self.db.drop_alias("current")
        with self.assertRaises(vecdb.NotFoundError):
            self.db.collection("current")


class Closing(Case):
    def test_twice(self):
        db = vecdb.open()
        films = db.create_collection("a", FIELDS)
        db.close()
        db.close()
        films.close()
        self.assertTrue(db.closed and films.closed)
        for call in (db.collections, films.count, lambda: films.search([1, 2], 1), lambda: films.insert([])):
            with self.assertRaises(vecdb.MisuseError):
                call()
        self.assertIn("closed", repr(db))

    def test_context(self):
        with vecdb.open() as db, db.create_collection("a", FIELDS) as c:
            c.insert({"id": [1], "v": [[1, 2]]})
        self.assertTrue(db.closed and c.closed)

    def test_dropped_handles(self):
        db = vecdb.open()
        for i in range(50):
            db.create_collection(f"c{i}", FIELDS).insert({"id": [1], "v": [[1, 2]]})
        gc.collect()
        db.close()

    @needs_numpy
    def test_close_waits_for_prepared_searches(self):
        for _ in range(10):
            db = vecdb.open()
            c = db.create_collection("a", FIELDS)
            c.insert({"id": list(range(200)), "v": [[i, 1] for i in range(200)]})
            query = np.array([1, 2], np.float32)
            failures = []

            def work():
                try:
                    while True:
                        c.search(query, 5)
                except vecdb.MisuseError:
                    pass
                except BaseException as error:  # anything else is wrong
                    failures.append(error)

            threads = [threading.Thread(target=work) for _ in range(3)]
            for thread in threads:
                thread.start()
            c.search(query, 5)
            db.close()
            for thread in threads:
                thread.join()
            self.assertEqual(failures, [])


class Options(unittest.TestCase):
    def test_open_options(self):
        with vecdb.open(":memory:", threads=2, durability="none", memory_limit=1 << 30) as db:
            self.assertIsNone(db.path)
            self.assertIn(":memory:", repr(db))

    def test_refused(self):
        for options in ({"durability": "sometimes"}, {"threads": -1}, {"threads": "2"}, {"memory_limit": -5}, {"threads": True}):
            with self.assertRaises(vecdb.InvalidError):
                vecdb.open(**options)

    def test_memory_limit_holds(self):
        with vecdb.open(memory_limit=8 << 20) as db:
            c = db.create_collection("a", [Field("id", "INT64", primary_key=True), Field("v", "FLOAT_VECTOR", dim=1000)])
            with self.assertRaises(vecdb.OutOfMemoryError) as caught:
                for i in range(100):
                    c.insert({"id": list(range(i * 100, i * 100 + 100)), "v": [[1.0] * 1000] * 100})
            self.assertIsInstance(caught.exception, MemoryError)
            before = c.count()
            self.assertEqual(before % 100, 0)
            self.assertEqual(len(c.search([1.0] * 1000, 3)[0]), 3)

    def test_paths(self):
        with self.assertRaises(vecdb.InvalidError):
            vecdb.open("a\0b")
        with self.assertRaises(vecdb.VecdbError):
            vecdb.open("/proc/nope/nope")


@needs_disk
class OnDisk(Case):
    def test_reopen(self):
        path = os.path.join(self.folder(), "films.vecdb")
        with vecdb.open(path) as db:
            self.assertEqual(db.path, path)
            films = db.create_collection(
                "films",
                [
                    Field("id", "INT64", primary_key=True),
                    Field("year", "INT32"),
                    Field("title", "VARCHAR", max_length=100),
                    Field("embedding", "FLOAT_VECTOR", dim=8),
                ],
            )
            films.insert(film_columns(20))
            films.delete([3])
            films.upsert({**film_columns(1), "title": ["changed"]})
        with vecdb.open(path) as db:
            films = db.collection("films")
            self.assertEqual(films.count(), 19)
            self.assertEqual(films.get([0], ["title"]), [{"id": 0, "title": "changed"}])
            self.assertEqual(plain(films.search(film_vector(7), 1, metric_type="L2").ids[0]), [7])
            self.assertEqual(films.schema["title"].max_length, 100)

    def test_one_writer(self):
        path = os.path.join(self.folder(), "db")
        with vecdb.open(path) as db:
            db.create_collection("a", FIELDS)
            code = f"import vecdb\ntry:\n vecdb.open({path!r})\nexcept vecdb.BusyError as e:\n print('busy', e)"
            env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
            self.assertIn("busy", done.stdout, done.stderr)
            self.assertIn(str(os.getpid()), done.stdout)

    def test_no_create(self):
        with self.assertRaises(vecdb.NotFoundError):
            vecdb.open(os.path.join(self.folder(), "none"), create=False)

    def test_read_only(self):
        path = os.path.join(self.folder(), "db")
        with vecdb.open(path) as db:
            db.create_collection("a", FIELDS).insert({"id": [1], "v": [[1, 2]]})
        try:
            db = vecdb.open(path, read_only=True)
        except vecdb.UnsupportedError:
            self.skipTest("the library has no read-only mode yet")
        with db:
            a = db.collection("a")
            self.assertEqual(a.count(), 1)
            with self.assertRaises(vecdb.ReadOnlyError):
                a.insert({"id": [2], "v": [[1, 2]]})
            with self.assertRaises(vecdb.ReadOnlyError):
                db.create_collection("b", FIELDS)

    def test_pathlike(self):
        from pathlib import Path

        with vecdb.open(Path(self.folder()) / "dätabase") as db:
            db.create_collection("a", FIELDS)
            db.sync()

    @needs_call("vecdb_backup")
    def test_backup(self):
        folder = self.folder()
        with vecdb.open(os.path.join(folder, "db")) as db:
            db.create_collection("a", FIELDS).insert({"id": [1], "v": [[1, 2]]})
            db.backup(os.path.join(folder, "copy"))
        with vecdb.open(os.path.join(folder, "copy")) as db:
            self.assertEqual(db.collection("a").count(), 1)

    @needs_call("vecdb_verify")
    def test_verify(self):
        path = os.path.join(self.folder(), "db")
        with vecdb.open(path) as db:
            db.create_collection("a", FIELDS).insert({"id": [1], "v": [[1, 2]]})
            self.assertTrue(db.verify()["ok"])
        report = vecdb.verify(path)
        self.assertTrue(report["ok"])
        self.assertEqual(report["problems"], [])

    @needs_call("vecdb_verify")
    def test_verify_memory(self):
        with self.assertRaises(vecdb.MisuseError):
            self.db.verify()

    @needs_call("vecdb_db_stats")
    def test_stats(self):
        self.assertIn("version", self.db.stats())

    def test_killed_process_loses_nothing(self):
        path = os.path.join(self.folder(), "db")
        code = f"""
import os, vecdb
db = vecdb.open({path!r}, durability="normal")
a = db.create_collection("a", [vecdb.Field("id", "INT64", primary_key=True), vecdb.Field("v", "FLOAT_VECTOR", dim=2)])
for i in range(100):
    a.insert({{"id": [i], "v": [[i, 1]]}})
os.kill(os.getpid(), 9)
"""
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", code], env=env)
        self.assertEqual(done.returncode, -9)
        with vecdb.open(path) as db:
            self.assertEqual(db.collection("a").count(), 100)


MEMORY = """
import gc, os, sys, tempfile, vecdb
import numpy as np

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

matrix = np.random.default_rng(1).random((60000, 256), np.float32)  # 61 MB

def fill(path):
    db = vecdb.open(path, durability="none")
    c = db.create_collection("c", [vecdb.Field("id", "INT64", primary_key=True), vecdb.Field("v", "FLOAT_VECTOR", dim=256)])
    c.insert({"id": np.arange(len(matrix)), "v": matrix})
    c.search(matrix[0], limit=3)
    return db, c

db, c = fill(None)  # once before measuring: threads and buffers that stay
db.close()
before = resident()
with tempfile.TemporaryDirectory() as folder:
    for path in (None, folder + "/db"):
        db, c = fill(path)
        full = resident()
        db.close()
        gc.collect()
        print(round(full - before), round(resident() - before), c.closed)
"""


class Threads(Case):
    def run_all(self, *works):
        failures = []

        def guarded(work):
            try:
                work()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])

    def test_readers_and_writers(self):
        films = self.films(100)
        stop = threading.Event()

        def write(base):
            def work():
                for i in range(20):
                    films.upsert(film_columns(10, first=base + i * 10))
                    films.delete([base + i * 10])

            return work

        def read():
            while not stop.is_set():
                hits = films.search([film_vector(3), film_vector(50)], 10, metric_type="L2", output_fields=["title"])
                for found in hits:
                    assert len(found) == 10
                    for hit in found:
                        assert hit["title"] == f"Film {hit.id}", (hit.id, hit["title"])
                rows = films.get([1, 2, 3])
                assert [row["id"] for row in rows] == [1, 2, 3]

        def stopper():
            try:
                self.run_all(write(1000), write(5000))
            finally:
                stop.set()

        self.run_all(read, read, stopper)
        self.assertEqual(films.count(), 100 + 2 * 180)

    @needs_numpy
    def test_prepared_searches_from_many_threads(self):
        films = self.films(200)
        wanted = {i: plain(films.search(film_vector(i), 5, metric_type="L2").ids[0]) for i in range(20)}

        def work():
            for i in list(range(20)) * 10:
                got = plain(films.search(np.array(film_vector(i), np.float32), 5, metric_type="L2").ids[0])
                assert got == wanted[i], (i, got, wanted[i])

        self.run_all(*[work] * 6)

    def test_errors_stay_in_their_thread(self):
        films = self.films(5)

        def wrong(dim):
            def work():
                for _ in range(50):
                    try:
                        films.search([1.0] * dim, 1)
                    except vecdb.DimError as error:
                        assert f"got {dim}" in str(error), error
                    else:
                        raise AssertionError

            return work

        def taken():
            for _ in range(50):
                try:
                    films.insert(film_columns(1))
                except vecdb.ExistsError as error:
                    assert "0" in str(error)
                else:
                    raise AssertionError

        self.run_all(wrong(3), wrong(5), taken)

    def test_collections_from_many_threads(self):
        def work(name):
            def create():
                for i in range(10):
                    c = self.db.create_collection(f"{name}{i}", FIELDS)
                    c.insert({"id": [i], "v": [[1, 2]]})
                    assert self.db.collection(f"{name}{i}").count() == 1
                    c.close()
                    self.db.drop_collection(f"{name}{i}")

            return create

        self.run_all(work("a"), work("b"), work("c"))
        self.assertEqual(self.db.collections(), [])

    @unittest.skipUnless(hasattr(os, "fork"), "no fork here")
    def test_fork(self):
        films = self.films(5)
        pid = os.fork()
        if pid == 0:
            try:
                films.insert(film_columns(1, first=77))
                os._exit(1)
            except vecdb.MisuseError:
                os._exit(0)
            except BaseException:
                os._exit(2)
        _, status = os.waitpid(pid, 0)
        self.assertEqual(os.waitstatus_to_exitcode(status), 0)
        self.assertEqual(films.count(), 5)


class Overhead(Case):
    @needs_numpy
    def test_a_search_costs_little_more_than_the_call(self):
        """The bound is loose, as tests share their machine; the benchmark measures it properly."""
        import timeit

        from vecdb import _library

        c = self.db.create_collection("a", [Field("id", "INT64", primary_key=True), Field("v", "FLOAT_VECTOR", dim=128)])
        c.insert({"id": np.arange(100), "v": np.random.default_rng(0).random((100, 128), np.float32)})
        query = np.random.default_rng(1).random(128, np.float32)
        c.search(query, 10)
        plan = next(iter(c._plans.values()))[0]
        raw = lambda: _library.search_into_raw(*plan.arguments)  # noqa: E731
        whole = min(timeit.repeat(lambda: c.search(query, 10), number=300, repeat=15)) / 300
        call = min(timeit.repeat(raw, number=300, repeat=15)) / 300
        self.assertLess(whole - call, 50e-6)


class CommandLine(unittest.TestCase):
    def test_python_m_vecdb(self):
        from vecdb.__main__ import find_program, main

        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        program = find_program()
        if program is None:
            self.assertEqual(main([]), 127)
            return
        done = subprocess.run([sys.executable, "-m", "vecdb", "--help"], capture_output=True, text=True, env=env, cwd=ROOT)
        self.assertIn("vecdb", done.stdout + done.stderr)


@unittest.skipUnless(os.path.exists("/proc/self/statm"), "needs Linux")
class Memory(Case):
    @needs_disk
    @needs_numpy
    def test_close_gives_memory_back(self):
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, env=env)
        self.assertEqual(done.returncode, 0, done.stderr)
        for line in done.stdout.splitlines():
            full, left, closed = line.split()
            self.assertGreater(int(full), 50)  # MB
            self.assertLess(int(left), 10, done.stdout)
            self.assertEqual(closed, "True")


if __name__ == "__main__":
    unittest.main()
