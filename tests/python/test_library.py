"""The C library: found, loaded, and seen as its header says."""

import ctypes
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from support import ROOT, vecdb
from vecdb import _errors, _library

HEADER = ROOT / "include" / "vecdb.h"

STRUCTS = {
    "vecdb_error": _library.Error,
    "vecdb_field": _library.FieldStruct,
    "vecdb_schema": _library.SchemaStruct,
    "vecdb_string": _library.StringStruct,
    "vecdb_column": _library.ColumnStruct,
    "vecdb_batch": _library.BatchStruct,
    "vecdb_open_options": _library.OpenOptions,
    "vecdb_write_options": _library.WriteOptions,
    "vecdb_index_options": _library.IndexOptions,
    "vecdb_param_info": _library.ParamInfo,
    "vecdb_search_request": _library.SearchRequest,
    "vecdb_hybrid_request": _library.HybridRequest,
    "vecdb_query_request": _library.QueryRequest,
}


class Header(unittest.TestCase):
    @unittest.skipUnless(shutil.which("cc") or shutil.which("gcc"), "no C compiler")
    def test_layout_of_every_struct(self):
        lines = ["#include <stdio.h>", '#include "vecdb.h"', "int main(void) {"]
        for name, struct in STRUCTS.items():
            lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
            for field, *_ in struct._fields_:
                lines.append(f'printf("{name}.{field} %zu\\n", offsetof({name}, {field}));')
        lines.append("return 0; }")
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.join(folder, "layout.c")
            with open(source, "w") as file:
                file.write("\n".join(lines))
            program = os.path.join(folder, "layout")
            compiler = shutil.which("cc") or shutil.which("gcc")
            subprocess.run([compiler, "-I", str(HEADER.parent), source, "-o", program], check=True)
            output = subprocess.run([program], check=True, capture_output=True, text=True).stdout
        found = dict(line.split() for line in output.splitlines())
        for name, struct in STRUCTS.items():
            self.assertEqual(int(found[name]), ctypes.sizeof(struct), name)
            for field, *_ in struct._fields_:
                self.assertEqual(int(found[f"{name}.{field}"]), getattr(struct, field).offset, f"{name}.{field}")

    def test_every_function_is_declared(self):
        names = set(re.findall(r"VECDB_API\s+[\w\s\*]+?\b(vecdb_\w+)\(", HEADER.read_text()))
        self.assertEqual(names, set(_library._PROTOTYPES))

    def test_status_codes(self):
        codes = dict(re.findall(r"VECDB_(ERR_\w+|OK|NOT_FOUND|EXHAUSTED) = (-?\d+)", HEADER.read_text()))
        self.assertGreater(len(codes), 20)
        for name, value in codes.items():
            self.assertEqual(getattr(_library, name), int(value), name)

    def test_every_error_has_a_class(self):
        codes = re.findall(r"VECDB_ERR_\w+ = (-\d+)", HEADER.read_text())
        self.assertEqual({int(code) for code in codes}, set(_errors.BY_STATUS))

    def test_status_names(self):
        for status, cls in _errors.BY_STATUS.items():
            self.assertEqual(_library.lib.vecdb_status_name(status).decode(), cls.code)

    def test_types(self):
        codes = dict(re.findall(r"VECDB_TYPE_(\w+) = (\d+)", HEADER.read_text()))
        self.assertEqual({name: int(code) for name, code in codes.items()}, {t.name: int(t) for t in vecdb.DataType})

    def test_metrics(self):
        codes = dict(re.findall(r"VECDB_METRIC_(\w+) = (\d+)", HEADER.read_text()))
        self.assertEqual({name: int(code) for name, code in codes.items()}, {m.name: int(m) for m in vecdb.Metric})

    def test_flags_and_limits(self):
        text = HEADER.read_text()
        for name in ("PRIMARY_KEY", "AUTO_ID", "NULLABLE", "PARTITION_KEY", "OPEN_READ_ONLY", "OPEN_NO_CREATE", "OPEN_IN_HEAP"):
            self.assertEqual(getattr(_library, name), int(re.search(rf"VECDB_{name} = (\d+)", text).group(1)), name)
        self.assertEqual(_library.MAX_BATCH_BYTES, int(re.search(r"VECDB_MAX_BATCH_BYTES = (\d+)", text).group(1)))


class Loading(unittest.TestCase):
    def run_python(self, code, **environment):
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)

    def test_missing_library(self):
        done = self.run_python("import vecdb", VECDB_LIBRARY="/nonexistent/libvecdb.so")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("ImportError", done.stderr)
        self.assertIn("/nonexistent/libvecdb.so", done.stderr)
        self.assertIn("VECDB_LIBRARY", done.stderr)

    def test_wrong_library(self):
        name = ctypes.util.find_library("m") if hasattr(ctypes, "util") else None
        path = name or "libm.so.6"
        done = self.run_python("import vecdb", VECDB_LIBRARY=path)
        self.assertIn("is not vecdb's library", done.stderr)

    def test_environment_chooses(self):
        done = self.run_python("import vecdb; print(vecdb.version())", VECDB_LIBRARY=_library.lib._name)
        self.assertEqual(done.stdout.strip(), vecdb.version())

    def test_import_brings_no_numpy(self):
        done = self.run_python("import sys, vecdb; print('numpy' in sys.modules, 'asyncio' in sys.modules)")
        self.assertEqual(done.stdout.strip(), "False False", done.stderr)

    def test_import_is_quick(self):
        import tempfile

        code = "import time; a = time.process_time(); import vecdb; print(time.process_time() - a)"
        times = []
        with tempfile.TemporaryDirectory() as compiled:  # as pip leaves a package: compiled
            while len(times) < 2 or (min(times) >= 0.05 and len(times) < 40):  # of the processor: tests share their machine
                done = self.run_python(code, PYTHONPYCACHEPREFIX=compiled, PYTHONDONTWRITEBYTECODE="")
                times.append(float(done.stdout))
        self.assertLess(min(times), 0.05)


class Facts(unittest.TestCase):
    def test_version(self):
        self.assertRegex(vecdb.version(), r"^\d+\.\d+\.\d+$")
        number = _library.lib.vecdb_version_number()
        major, minor, patch = map(int, vecdb.version().split("."))
        self.assertEqual(number, major * 1000000 + minor * 1000 + patch)
        self.assertEqual(vecdb.__version__, vecdb.version())

    def test_simd(self):
        self.assertIn(vecdb.simd(), ("scalar", "avx2", "avx512", "neon"))

    def test_features(self):
        self.assertTrue(vecdb.has_feature("metric.JACCARD"))
        self.assertTrue(vecdb.has_feature("simd.scalar"))
        self.assertFalse(vecdb.has_feature("index.NONSENSE"))
        self.assertFalse(vecdb.has_feature(""))

    def test_index_params(self):
        params = vecdb.index_params()
        for param in params:
            self.assertTrue(param.name and param.index_type and param.meaning, param)
            if not param.choices:
                self.assertLessEqual(param.low, param.high, param)
        known = {(param.index_type, param.name, param.for_search) for param in params}
        if params:
            self.assertEqual(len(known), len(params))

    def test_everything_public_exists(self):
        for name in vecdb.__all__:
            self.assertTrue(hasattr(vecdb, name), name)


if __name__ == "__main__":
    unittest.main()
