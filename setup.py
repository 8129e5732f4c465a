"""Compile the hot modules with mypyc, as `LEVERET_COMPILE` says; everything else: pyproject.toml.

`LEVERET_COMPILE=auto` (the default) compiles where a C compiler and Python's headers are found,
and otherwise installs plain Python and says so in one line. `0` never compiles; `1` fails where
compiling is not possible.
"""

import os
import runpy
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from setuptools import setup

ROOT = Path(__file__).parent
SOURCE_ROOTS = {"leveret": "server", "leveret_storage": "storage"}
METADATA_COMMANDS = {"egg_info", "dist_info", "sdist"}
"""Steps in which pip asks about the project before building it; nothing is compiled for them."""

COMPILED: tuple[str, ...] = runpy.run_path(str(ROOT / "server/leveret/compiled.py"))["COMPILED"]


def compiler_problem() -> str:
    """Why C cannot be compiled here, in a few words; empty where it can."""
    command = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    includes = [f"-I{sysconfig.get_path(name)}" for name in ("include", "platinclude")]
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "probe.c")
        source.write_text("#include <Python.h>\n")
        target = str(source.with_suffix(".o"))
        try:
            probe = subprocess.run(
                [*command, *includes, "-c", str(source), "-o", target], capture_output=True
            )
        except OSError:
            return f"no C compiler ({command[0]}) was found"
    if probe.returncode == 0:
        return ""
    if b"Python.h" in probe.stderr:
        return "Python's header files (Python.h) were not found"
    return f"the C compiler ({command[0]}) does not work"


def extensions() -> list[Any]:
    """The compiled modules as one mypyc group, or none."""
    mode = os.environ.get("LEVERET_COMPILE") or "auto"
    if mode not in ("0", "1", "auto"):
        raise SystemExit(f"leveret: LEVERET_COMPILE: expected 0, 1 or auto, got {mode!r}")
    if mode == "0" or METADATA_COMMANDS & set(sys.argv[1:2]):
        return []
    problem = compiler_problem()
    if problem and mode == "1":
        raise SystemExit(f"leveret: LEVERET_COMPILE=1, but {problem}")
    if problem:
        sys.stderr.write(f"leveret: {problem}; installing as plain Python\n")
        return []
    sources = [
        ROOT / SOURCE_ROOTS[name.partition(".")[0]] / (name.replace(".", "/") + ".py")
        for name in COMPILED
    ]
    paths = [str(path.relative_to(ROOT)) for path in sources if path.exists()]
    if not paths:
        return []
    from mypyc.build import mypycify

    return mypycify(paths, group_name="leveret", opt_level="3")


setup(ext_modules=extensions())
