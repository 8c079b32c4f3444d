"""The package as it is shipped: the wheel, the sdist, types, and life without numpy."""

import importlib.util
import os
import shutil
import subprocess
import sys
import unittest
import zipfile
from pathlib import Path

from support import ROOT, Case, vecdb
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


class Types(unittest.TestCase):
    @unittest.skipUnless(has("mypy"), "mypy is not installed")
    def test_mypy_strict(self):
        done = subprocess.run(
            [sys.executable, "-m", "mypy", "--strict", "--cache-dir", "/dev/null", "vecdb"], capture_output=True, text=True, cwd=PACKAGE
        )
        self.assertEqual(done.returncode, 0, done.stdout)

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
        for wanted in ("vecdb/__init__.py", "vecdb/py.typed", "vecdb/lib/libvecdb.so.0", "vecdb/milvus/__init__.py"):
            self.assertIn(wanted, names)
        self.assertLess(sum(os.path.getsize(os.path.join(out, n)) for n in os.listdir(out)), 15 << 20)
        target = self.folder()
        self.pip("install", "-q", "--no-deps", "--target", target, os.path.join(out, name))
        env = {key: value for key, value in os.environ.items() if key not in ("VECDB_LIBRARY", "PYTHONPATH")}
        env["PYTHONPATH"] = target
        code = "import vecdb; print(vecdb._library.lib._name); db = vecdb.open(); print(db.collections())"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=target)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(os.path.join(target, "vecdb", "lib"), done.stdout)

    def test_sdist_carries_the_sources(self):
        import tarfile

        sys_path = str(PACKAGE)
        out = self.folder()
        done = subprocess.run(
            [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", self.folder(), "sdist", "--dist-dir", out],
            capture_output=True, text=True, cwd=sys_path,
        )
        self.assertEqual(done.returncode, 0, done.stderr[-2000:])
        [name] = os.listdir(out)
        with tarfile.open(os.path.join(out, name)) as archive:
            names = {member.name.split("/", 1)[-1] for member in archive.getmembers()}
        for wanted in ("csrc/Makefile", "csrc/include/vecdb.h", "csrc/src/base/mem.c", "vecdb/__init__.py", "setup.py", "pyproject.toml"):
            self.assertIn(wanted, names)
        self.assertFalse([n for n in names if n.endswith((".o", ".so"))])


if __name__ == "__main__":
    unittest.main()
