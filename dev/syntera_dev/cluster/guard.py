"""Ends a test run's control plane when the run itself was killed and could not.

A pipe connects the run to a small process of its own session: when the run ends, however it ends, the pipe closes and the guard
ends whatever is still recorded in the folder, and removes it. A signal on the parent's death would not do: the kernel sends it when the
*thread* that started the program ends, and tests start programs from short-lived threads.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from .components import ComponentRunner, stop_all


@contextlib.contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """Watch over the components recorded in `folder` for the length of the block."""
    guard = subprocess.Popen(
        [sys.executable, "-m", __name__, str(folder)],
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C in a terminal reaches the run's whole process group, and the guard must survive it
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    try:
        yield
    finally:
        assert guard.stdin is not None
        guard.stdin.close()
        guard.wait(timeout=30)


def main() -> None:
    """Wait until standard input closes, then end the components and remove their folder."""
    folder = Path(sys.argv[1])
    sys.stdin.buffer.read()
    stop_all(ComponentRunner(folder), grace_seconds=0)  # the data go with the folder
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
