"""pymilvus' own examples, out of its source distribution as pip gives it, run with nothing but their import changed.

setup_venv downloads the distribution beside the environment; without it these tests are skipped. Every example is run: those
that cannot end well are named in CANNOT, with the reason and the message that must appear, so that the list stays true.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support import ROOT

#: The last release whose source distribution has the examples.
RELEASE = "pymilvus-2.6.13"
SECONDS = 120

USERS = "users and privileges need a server", r"not supported by vecdb"
GROUPS = "resource groups need a server", r"resource_group.*not supported by vecdb|ResourceGroupConfig.*not supported by vecdb"
FUNCTIONS = "functions (BM25, MinHash, embedding services) are not there", r"function '.*: not supported by vecdb"
TEXT_MATCH = "there are no text indexes", r"text_match needs a text index"
IMPORT = "bulk import needs a server", r"bulk import|TEXTEMBEDDING\): not supported|No module named '(minio|pytz|tensorflow|examples)'"
MODEL = "pymilvus.model is a package of its own", r"No module named '[\w.]*\.model'"
GPU = "there is no GPU", r"index type GPU_\w+ is unknown"

#: Example: (why it cannot end well, what it must say).
CANNOT = {
    "alter.py": ("the longest text of a field cannot be changed", r"changing max_length, mmap.enabled of a field: not supported"),
    "async_DDL_test.py": USERS,
    "async_previledge_test.py": USERS,
    "bulk_import/bulk_writer_all_types.py": IMPORT,
    "bulk_import/data_gengerator.py": IMPORT,
    "bulk_import/example_bulkinsert_csv.py": IMPORT,
    "bulk_import/example_bulkinsert_json.py": IMPORT,
    "bulk_import/example_bulkinsert_numpy.py": IMPORT,
    "bulk_import/example_bulkinsert_parquet.py": IMPORT,
    "bulk_import/example_bulkinsert_withfunction.py": IMPORT,
    "bulk_import/example_bulkwriter.py": IMPORT,
    "bulk_import/example_bulkwriter_volume.py": IMPORT,
    "bulk_import/example_bulkwriter_with_nullable.py": IMPORT,
    "bulk_import/example_volume_file_manager.py": IMPORT,
    "bulk_import/example_volume_manager.py": IMPORT,
    "datatypes/bfloat16_example.py": ("needs tensorflow", r"No module named 'tensorflow'"),
    "datatypes/example_str.py": (
        "drops the index of a loaded collection, which a server refuses, too",
        r"vector index cannot be dropped on loaded collection",
    ),
    "datatypes/hello_bm25.py": FUNCTIONS,
    "full_text_search/bm25.py": FUNCTIONS,
    "full_text_search/language_identifier.py": FUNCTIONS,
    "full_text_search/multi_analyzer.py": FUNCTIONS,
    "function_edit.py": FUNCTIONS,
    "gpu_indx/example_gpu_brute_force.py": GPU,
    "gpu_indx/example_gpu_cagra.py": GPU,
    "hybrid_search/hello_hybrid_bm25.py": FUNCTIONS,
    "hybrid_search/hello_hybrid_sparse_dense.py": MODEL,
    "milvus_model/hello_model.py": MODEL,
    "minhash_function_example.py": FUNCTIONS,
    "orm/hello_milvus_delete.py": ("the example's own mistake", r"AttributeError: .* object has no attribute 'extend'"),
    "orm/hello_text_embedding.py": FUNCTIONS,
    "orm/hello_text_match.py": TEXT_MATCH,
    "orm/iterator.py": ("expects the collection of an earlier run", r"Collection 'test_iterator' not exist"),
    "orm/partition.py": ("the example's own mistake", r"NameError: name 'num' is not defined"),
    "orm/rbac.py": USERS,
    "orm/resource_group.py": GROUPS,
    "orm/resource_group_declarative_api.py": GROUPS,
    "orm/role_and_privilege.py": USERS,
    "orm/user.py": USERS,
    "privilege_group.py": USERS,
    "rbac.py": USERS,
    "resource_group.py": GROUPS,
    "simple_rerank.py": ("rerankers that decay with a field are not there", r"a ranker in a plain search: not supported by vecdb"),
    "struct_example.py": ("struct fields are not there", r"structs?\b.*not supported by vecdb"),
    "text_embedding.py": FUNCTIONS,
    "text_match.py": TEXT_MATCH,
}

#: Examples that this package promises to run: never in CANNOT.
PROMISED = (
    "simple simple_auto_id customize_schema customize_schema_auto_id customize_schema_id index index_params hybrid_search "
    "iterator/iterator partition alias orm/hello_milvus search_group_by search_with_template_expression non_ascii_encode "
    "database compact flush simple_async simple_async2 simple_partial_update test_bitmap_index orm/collection timestamptz "
    "timestamptz_insert timestamptz_meta timestamptz_search_query nullable_vector sparse datatypes/hello_sparse"
).split()


def archive():
    """Where setup_venv put the source distribution, beside the environment that runs this."""
    found = sorted(Path(sys.prefix).glob(f"pymilvus/{RELEASE}.tar.gz"))
    return found[0] if found else None


def changed(text):
    """The import, and nothing else."""
    text = re.sub(r"(?m)^(\s*)from pymilvus\b", r"\1from vecdb.milvus", text)
    text = re.sub(r"(?m)^(\s*)import pymilvus(?=\s*$)", r"\1import vecdb.milvus as pymilvus", text)
    return re.sub(r"(?m)^(\s*)import pymilvus as\b", r"\1import vecdb.milvus as", text)


def run(root, name):
    """(exit status, output) of one example, in a directory of its own."""
    folder = tempfile.mkdtemp(prefix="vecdb-example-")
    try:
        place = Path(shutil.copytree(root, Path(folder) / "examples"))
        for path in place.rglob("*.py"):
            path.write_text(changed(path.read_text(encoding="utf-8")), encoding="utf-8")
        script = place / name
        package = os.environ.get("PYTHONPATH", "") if os.environ.get("VECDB_TEST_INSTALLED") else str(ROOT / "bindings" / "python")
        env = {**os.environ, "PYTHONPATH": package, "PYTHONIOENCODING": "utf-8"}
        env.pop("VECDB_MILVUS_PATH", None)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", script.name],
            cwd=script.parent, env=env, timeout=SECONDS, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return done.returncode, done.stdout.decode("utf-8", "replace")
    except subprocess.TimeoutExpired as error:
        return "timeout", (error.stdout or b"").decode("utf-8", "replace")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@unittest.skipUnless(archive(), f"the source distribution {RELEASE} is not there")
class Examples(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="vecdb-examples-")
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        with tarfile.open(archive()) as file:
            members = [member for member in file.getmembers() if member.name.startswith(f"{RELEASE}/examples/")]
            file.extractall(cls.folder, members)
        root = Path(cls.folder) / RELEASE / "examples"
        names = sorted(str(path.relative_to(root)) for path in root.rglob("*.py"))
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            cls.outcome = dict(zip(names, pool.map(lambda name: run(root, name), names)))

    def test_all_run_but_those_that_cannot(self):
        for name, (status, output) in self.outcome.items():
            if name not in CANNOT:
                with self.subTest(name):
                    self.assertEqual(status, 0, f"{name}:\n{output[-3000:]}")

    def test_those_that_cannot_say_why(self):
        self.assertEqual(set(CANNOT) - set(self.outcome), set(), "examples that are not in the distribution")
        for name, (why, message) in CANNOT.items():
            status, output = self.outcome[name]
            with self.subTest(name):
                self.assertNotEqual(status, 0, f"{name} runs now: {why}")
                self.assertRegex(output, message)

    def test_what_is_promised(self):
        for name in PROMISED:
            with self.subTest(name):
                self.assertNotIn(f"{name}.py", CANNOT)
                self.assertEqual(self.outcome[f"{name}.py"][0], 0)
        self.assertGreaterEqual(sum(status == 0 for status, _ in self.outcome.values()), len(self.outcome) - len(CANNOT))

    @classmethod
    def tearDownClass(cls):
        good = sum(status == 0 for status, _ in cls.outcome.values())
        print(f"\n{RELEASE}: {good} of {len(cls.outcome)} examples run with their import changed")


if __name__ == "__main__":
    unittest.main()
