"""The wheel as users get it: one file, built by pip, for every CPython there is here; and an sdist that builds.

    check_wheel.py BUILD_DIRECTORY [python3.9 python3.10 ...]

Builds the wheel and the sdist with build isolation, has auditwheel judge the wheel, installs it in a fresh environment of
each interpreter and runs the package's tests there, with numpy where the interpreter can get it and without. Ends in a
line "N passed, N failed".
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent.parent / "bindings" / "python"
#: Tests of the package itself, without frameworks.
TESTS = ["test_columns", "test_collection", "test_database", "test_search", "test_library", "test_aio", "test_milvus_client", "test_milvus_orm"]
LIMIT = 15 << 20
IMPORT_MS = 50


class Checks:
    def __init__(self):
        self.passed = self.failed = 0

    def check(self, name, condition, detail=""):
        self.passed += bool(condition)
        self.failed += not condition
        print(f"  {'ok  ' if condition else 'FAIL'} {name}{f': {detail}' if detail else ''}", flush=True)
        return bool(condition)


def run(command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)


def build(checks, build_directory, folder):
    """The wheel, by the command the README gives."""
    env = {**os.environ, "VECDB_BUILD": str(build_directory), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = run([sys.executable, "-m", "pip", "wheel", "-q", "-w", folder, PACKAGE], env=env)
    wheels = sorted(folder.glob("*.whl"))
    named = len(wheels) == 1 and re.fullmatch(r"vecdb-[\d.]+-py3-none-manylinux_2_\d+_\w+\.whl", wheels[0].name)
    if not checks.check("pip wheel gives one py3-none-manylinux wheel", named, wheels[0].name if wheels else done.stderr[-2000:]):
        return None
    return wheels[0]


def audit(checks, wheel):
    done = run([sys.executable, "-m", "auditwheel", "show", wheel])
    text = " ".join(done.stdout.split())
    tag = wheel.stem.rsplit("-", 1)[-1].split(".")[0]
    checks.check("auditwheel agrees with the name", f'platform tag: "{tag}"' in text, text[:160])
    with zipfile.ZipFile(wheel) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
        names = archive.namelist()
    checks.check("under 15 MB installed", size < LIMIT, f"{size / 1e6:.1f} MB")
    for library in ("lz4", "xxhash", "jansson", "pcre2"):
        checks.check(f"{library} is inside", any(f"vecdb.libs/lib{library}" in name for name in names))


def source_distribution(checks, folder):
    """The sdist builds by itself, out of the tree."""
    package = folder / "package"  # a copy beside the real tree's parents, so that building leaves nothing there
    shutil.copytree(PACKAGE, package / "bindings" / "python", ignore=shutil.ignore_patterns("build", "dist", "*.egg-info", "__pycache__"))
    for name in ("Makefile", "include", "src", "cli", "scripts", "LICENSE"):
        source = HERE.parent.parent / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, package / name)
    out = folder / "sdist"
    done = run([sys.executable, "setup.py", "-q", "sdist", "--dist-dir", out], cwd=package / "bindings" / "python")
    archives = list(out.glob("*.tar.gz")) if out.is_dir() else []
    if not checks.check("sdist", len(archives) == 1, archives[0].name if archives else done.stderr[-500:]):
        return
    shutil.rmtree(package)
    env = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "VECDB_JOBS": os.environ.get("VECDB_JOBS", "2")}
    env.pop("VECDB_LIBRARY", None)
    done = run([sys.executable, "-m", "pip", "wheel", "-q", "-w", folder / "from-sdist", archives[0]], env=env)
    wheels = list((folder / "from-sdist").glob("*manylinux*.whl"))
    checks.check("the sdist builds the same wheel", len(wheels) == 1, wheels[0].name if wheels else done.stderr[-1000:])


def interpreter(checks, wheel, python, folder):
    """Install in a fresh environment and test there."""
    version = run([python, "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"]).stdout.strip()
    venv = folder / version
    if run([python, "-m", "venv", venv]).returncode:
        checks.check(f"Python {version}", False, "no venv")
        return
    inside = venv / "bin" / "python"
    done = run([inside, "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel])
    if not checks.check(f"Python {version}: installs", done.returncode == 0, done.stderr[-500:]):
        return
    env = {name: value for name, value in os.environ.items() if name not in ("VECDB_LIBRARY", "PYTHONPATH")}
    env["VECDB_TEST_INSTALLED"] = "1"
    times = []
    for _ in range(5):
        done = run([inside, "-I", "-X", "importtime", "-c", "import vecdb"], env=env)
        times += [int(line.split("|")[1]) / 1000 for line in done.stderr.splitlines() if line.endswith("| vecdb")]
    checks.check(f"Python {version}: imports", times and min(times) < IMPORT_MS, f"{min(times, default=0):.0f} ms")
    done = run([inside, "-m", "vecdb", "--version"], env=env, cwd=folder)
    checks.check(f"Python {version}: command line", done.returncode == 0, done.stdout.strip() or done.stderr[-300:])
    has_numpy = not run([inside, "-m", "pip", "install", "-q", "--only-binary", ":all:", "numpy"]).returncode
    for numpy in ("", "1")[not has_numpy :]:
        done = run([inside, "-W", "ignore", "-m", "unittest", *TESTS], env={**env, "VECDB_NO_NUMPY": numpy}, cwd=HERE)
        lines = done.stderr.strip().splitlines()
        what = f"Python {version}: tests {'without' if numpy else 'with'} numpy"
        ran = re.search(r"Ran (\d+) tests", done.stderr)
        good = done.returncode == 0 and ran and int(ran[1]) > 100
        checks.check(what, good, f"{ran[0] if ran else ''} {lines[-1] if good else done.stderr[-2500:]}")


def main(build_directory, pythons):
    checks = Checks()
    folder = Path(tempfile.mkdtemp(prefix="vecdb-wheel-"))
    try:
        wheel = build(checks, Path(build_directory).resolve(), folder)
        if wheel is not None:
            audit(checks, wheel)
            for python in [sys.executable, *pythons]:
                interpreter(checks, wheel, python, folder)
        source_distribution(checks, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{checks.passed} passed, {checks.failed} failed")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
