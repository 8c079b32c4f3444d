"""One program on vecdb.milvus and on pymilvus with milvus-lite, in the same run, and what they give compared."""

import importlib.util
import json
import logging
import os
import unittest

from support import SEED, Case, needs_disk, needs_filters


#: In `defects`: the whole program fails on milvus-lite.
PROGRAM = "the program"


def found(name):
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


@unittest.skipUnless(found("milvus_lite") and found("pymilvus"), "pymilvus with milvus-lite is not installed")
@needs_disk
@needs_filters
class BothCase(Case):
    @classmethod
    def setUpClass(cls):
        import pymilvus

        if getattr(pymilvus, "_vecdb", False):
            raise unittest.SkipTest("vecdb.milvus is installed as pymilvus")
        logging.disable(logging.CRITICAL)

    @classmethod
    def tearDownClass(cls):
        logging.disable(logging.NOTSET)

    def both(self):
        import pymilvus
        from vecdb import milvus

        folder = self.folder()
        for name, module in (("lite", pymilvus), ("vecdb", milvus)):
            client = module.MilvusClient(os.path.join(folder, f"{name}.db"))
            self.addCleanup(client.close)
            client.path = os.path.join(folder, f"{name}.db")
            yield name, module, client

    def same(self, program, defects=None):
        """Run program(module, client) on both; its results, a list or a dict, must be the same.

        defects names the results that differ, and why: milvus-lite's known defects. Those must differ, and PROGRAM must fail
        on milvus-lite altogether.
        """
        results = {}
        for name, module, client in self.both():
            try:
                results[name] = json.loads(json.dumps(program(module, client), default=str))
            except Exception as error:
                if name == "vecdb" or PROGRAM not in (defects or {}):
                    raise
                results[name] = error
        ours, theirs = results["vecdb"], results["lite"]
        if PROGRAM in (defects or {}):
            self.assertIsInstance(theirs, Exception, f"milvus-lite has mended this: {defects[PROGRAM]}")
            return ours
        if not isinstance(ours, dict):
            self.compare(ours, theirs)
            return ours
        self.assertEqual(list(ours), list(theirs))
        different = {}
        for name in ours:
            try:
                self.compare(ours[name], theirs[name], name)
            except AssertionError as difference:
                different[name] = difference
        for name, why in (defects or {}).items():
            self.assertIsNotNone(different.pop(name, None), f"milvus-lite has mended {name}: {why}")
        if different:
            self.fail("\n\n".join(f"{name}: vecdb {ours[name]}\nmilvus-lite {theirs[name]}"[:1500] for name in different))
        return ours

    def compare(self, ours, theirs, where="result"):
        if isinstance(ours, (int, float)) and isinstance(theirs, float) or isinstance(ours, float) and isinstance(theirs, int):
            self.assertAlmostEqual(ours, theirs, delta=1e-4 * (1 + abs(theirs)), msg=f"{where}, seed {SEED}")
        elif isinstance(ours, dict) and isinstance(theirs, dict):
            self.assertEqual(set(ours), set(theirs), where)
            for key in ours:
                self.compare(ours[key], theirs[key], f"{where}[{key!r}]")
        elif isinstance(ours, list) and isinstance(theirs, list):
            self.assertEqual(len(ours), len(theirs), where)
            for i, (a, b) in enumerate(zip(ours, theirs)):
                self.compare(a, b, f"{where}[{i}]")
        else:
            self.assertEqual(ours, theirs, f"{where}, seed {SEED}")

    @staticmethod
    def attempt(call):
        """What a call returns, or which error it raises."""
        try:
            return call()
        except Exception as error:
            return ["raises", type(error).__name__, getattr(error, "code", None)]
