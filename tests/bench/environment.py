"""The operator as its image has it: installed from its own lock file, compiled, beside nothing else.

In the development environment kopf finds other Kubernetes clients and loads them, which would count as the operator's memory.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.postgresql import REPOSITORY

_UV = Path(sys.executable).with_name("uv")


def install_operator(folder: Path) -> Path:
    """Install this checkout's operator; gives its interpreter."""
    python = folder / "bin" / "python"
    _run(_UV, "venv", "--quiet", "--python", sys.executable, folder)
    install = (_UV, "pip", "install", "--quiet", "--python", python, "--compile-bytecode")
    _run(*install, "--require-hashes", "--requirement", REPOSITORY / "locks" / "operator.txt")
    with tempfile.TemporaryDirectory() as built:
        _run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", built)
        [wheel] = Path(built).glob("*.whl")
        _run(*install, "--no-deps", wheel)
    return python


def _run(*words: str | Path) -> None:
    # Compiled on installation; what is not, such as pip's own, is not to be compiled while something is measured.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run(words, cwd=REPOSITORY, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=300)
