"""Ctrl-C ends what takes long, and leaves everything in order; handlers of signals are as they were before."""

import os
import signal
import subprocess
import sys
import threading
import time
import unittest

from support import ROOT, Case, needs_call, needs_numpy, np, rng

import vecdb
from vecdb._handle import stoppable

ROWS, DIM = 30000, 128


def main_thread_handles_signals():
    return threading.current_thread() is threading.main_thread() and callable(signal.getsignal(signal.SIGINT))


class Interrupted(Exception):
    pass


@needs_numpy
@needs_call("vecdb_optimize", "vecdb_index_create")
@unittest.skipUnless(main_thread_handles_signals(), "signals are not handled by this thread")
class Interrupts(Case):
    @classmethod
    def setUpClass(cls):
        cls.vectors = rng().random((ROWS, DIM), dtype=np.float32)

    def rows(self):
        db = vecdb.open()
        self.addCleanup(db.close)
        rows = db.create_collection(
            "rows", [vecdb.Field("id", "INT64", primary_key=True), vecdb.Field("v", "FLOAT_VECTOR", dim=DIM)]
        )
        rows.insert({"id": np.arange(ROWS), "v": self.vectors})
        return rows

    def handle(self, handler):
        before = signal.signal(signal.SIGINT, handler)
        self.addCleanup(signal.signal, signal.SIGINT, before)

    def test_a_build(self):
        rows = self.rows()
        before = signal.getsignal(signal.SIGINT)
        # a signal that comes on the way into the callback, where ctypes would lose what its handler raises
        kill = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
        kill.start()
        with self.assertRaises(KeyboardInterrupt):
            rows.create_index("v", "HNSW", metric_type="L2")
        kill.join()
        self.assertIs(signal.getsignal(signal.SIGINT), before)
        self.assertEqual(len(rows.indexes()), 0)
        self.assertEqual(rows.count(), ROWS)
        rows.create_index("v", "HNSW", metric_type="L2")
        self.assertEqual(rows.search(self.vectors[7], 1).ids[0, 0], 7)

    def test_a_call_that_does_not_end_at_once(self):
        stopped, ended = [], []

        def call():
            while not stopped:
                time.sleep(0.01)
            time.sleep(0.5)  # as a library does that looks at its cancel flag now and then
            ended.append(True)

        kill = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
        kill.start()
        with self.assertRaises(KeyboardInterrupt):
            stoppable(call, lambda: stopped.append(True))
        self.assertEqual(ended, [True])
        kill.join()

    def test_a_handler_of_the_programs(self):
        rows, seen = self.rows(), []
        self.handle(lambda number, frame: seen.append(number))
        kill = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
        kill.start()
        rows.create_index("v", "HNSW", metric_type="L2")  # it raises nothing, so nothing ends
        kill.join()
        self.assertEqual(len(rows.indexes()), 1)
        self.assertEqual(seen, [signal.SIGINT])

    def test_in_a_progress_function(self):
        rows = self.rows()

        def progress(stage, done, total):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)

        start = time.monotonic()
        with self.assertRaises(KeyboardInterrupt):
            rows.create_index("v", "HNSW", metric_type="L2", progress=progress)
        self.assertLess(time.monotonic() - start, 5)

    def test_a_search_of_many(self):
        rows = self.rows()
        queries = np.concatenate([self.vectors] * 4)
        start = time.process_time()
        rows.search(queries[:3000], 10, exact=True, metric_type="L2")
        whole = (time.process_time() - start) * len(queries) / 3000  # of processors, however busy they are
        kill = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
        start = time.process_time()
        kill.start()
        with self.assertRaises(KeyboardInterrupt):
            rows.search(queries, 10, exact=True, metric_type="L2")
        self.assertLess(time.process_time() - start, whole / 2)
        kill.join()
        self.assertEqual(rows.search(self.vectors[:300], 1, metric_type="L2").ids[:, 0].tolist(), list(range(300)))

    def test_errors_of_a_search_of_many(self):
        rows = self.rows()
        with self.assertRaisesRegex(vecdb.FilterError, "nothing"):
            rows.search(self.vectors[:300], 10, filter="nothing > 3", metric_type="L2")
        stop = vecdb.Cancel()
        stop.set()
        with self.assertRaises(vecdb.CancelledError):
            rows.search(self.vectors[:300], 10, cancel=stop, metric_type="L2")

    def test_a_search_while_the_interpreter_ends(self):
        program = """
import sys; sys.path.insert(0, sys.argv[1])
import atexit, numpy as np, vecdb
db = vecdb.open()
rows = db.create_collection("r", [vecdb.Field("id", "INT64", primary_key=True), vecdb.Field("v", "FLOAT_VECTOR", dim=2)])
rows.insert({"id": [1, 2], "v": [[0, 0], [1, 1]]})
atexit.register(lambda: print(rows.search(np.zeros((300, 2)), 1, metric_type="L2").ids.sum()))
"""
        done = subprocess.run(
            [sys.executable, "-c", program, str(ROOT / "bindings" / "python")], capture_output=True, text=True, timeout=60
        )
        self.assertEqual((done.stdout, done.stderr), ("300\n", ""))


if __name__ == "__main__":
    unittest.main()
