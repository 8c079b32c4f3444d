"""python -m vecdb: the vecdb command line, when it came with the package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import List, Optional


def find_program() -> Optional[str]:
    """The bundled program, the one of the source tree, or the one on PATH."""
    here = Path(__file__).resolve().parent
    for candidate in (here / "lib" / "vecdb", here.parent.parent.parent / "build" / "vecdb"):
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return str(candidate)
    return shutil.which("vecdb")


def main(arguments: List[str]) -> int:
    program = find_program()
    if program is None:
        print("vecdb: this package came without the command line program 'vecdb'", file=sys.stderr)
        return 127
    if os.name == "posix":
        os.execv(program, [program, *arguments])
    return subprocess.call([program, *arguments])


def script() -> None:
    """The console script of the package."""
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
