"""Run the Python tests: with pytest where it is installed (the frameworks' suites need it), else with unittest.

    run.py [name ...]      names of test files without .py; all by default

Ends in a line "N passed, N failed, N skipped".
"""

import os
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
#: Tests of other parts of the tree, which have commands of their own.
ELSEWHERE = ("test_bench_", "test_filter_oracle")


def files(names):
    if names:
        return [HERE / f"{name}.py" for name in names]
    found = sorted(HERE.glob("test_*.py")) + sorted(HERE.glob("suite_*.py"))
    return [path for path in found if not path.name.startswith(ELSEWHERE)]


def with_pytest(paths):
    import pytest

    class Count:
        passed = failed = skipped = 0
        reasons = {}

        def pytest_runtest_logreport(self, report):
            if report.skipped:
                self.skipped += 1
                reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else "skipped"
                self.reasons[reason] = self.reasons.get(reason, 0) + 1
            elif report.failed:
                self.failed += 1
            elif report.when == "call":
                self.passed += 1

        def pytest_collectreport(self, report):
            if report.failed:
                self.failed += 1

    count = Count()
    options = ["-q", "-W", "ignore", "-p", "no:cacheprovider", "--rootdir", str(HERE), "--tb=short", "--no-header"]
    try:
        import pytest_asyncio  # noqa: F401

        options += ["-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"]
    except ImportError:
        pass
    options += ["-o", "python_files=test_*.py suite_*.py"]
    pytest.main(options + [str(path) for path in paths], plugins=[count])
    return count.passed, count.failed, count.skipped, count.reasons


def with_unittest(paths):
    loader, suite = unittest.TestLoader(), unittest.TestSuite()
    for path in paths:
        if not path.name.startswith("suite_"):
            suite.addTests(loader.loadTestsFromName(path.stem))
    result = unittest.TextTestRunner(verbosity=1).run(suite)
    failed = len(result.failures) + len(result.errors)
    reasons = {}
    for _, reason in result.skipped:
        reasons[reason] = reasons.get(reason, 0) + 1
    return result.testsRun - failed - len(result.skipped), failed, len(result.skipped), reasons


def main(names):
    sys.path.insert(0, str(HERE))
    os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "False")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    paths = files(names)
    try:
        import pytest  # noqa: F401

        passed, failed, skipped, reasons = with_pytest(paths)
    except ImportError:
        passed, failed, skipped, reasons = with_unittest(paths)
    for reason, times in sorted(reasons.items()):
        print(f"skipped {times}: {reason}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
