"""Each attempt is made by a process that was forked from the test's and is confined, and answers by its exit status."""

import errno
import mmap
import os
import platform
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from syntera_runtime.ingest.extraction.confinement import Confinement

MIB = 1024 * 1024
HAPPENED, REFUSED, ELSE = 10, 11, 12


def attempt(action: Callable[[], object], *, memory_bytes: int = 256 * MIB) -> int:
    confinement = Confinement(memory_bytes=memory_bytes)
    process = os.fork()
    if process == 0:
        result = ELSE
        try:
            confinement.enter(kept=())
            result = try_action(action)
        finally:
            os._exit(result)
    _, status = os.waitpid(process, 0)
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def try_action(action: Callable[[], object]) -> int:
    try:
        action()
    except MemoryError:
        return REFUSED
    except OSError as error:
        refusals = (errno.EPERM, errno.EACCES, errno.EFBIG, errno.EBADF, errno.ENOMEM, errno.EMFILE)
        return REFUSED if error.errno in refusals else ELSE
    return HAPPENED


has_filter = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "aarch64"), reason="knows no calls of this machine"
)


def test_computing_goes_on() -> None:
    assert attempt(lambda: sum(range(1000))) == HAPPENED


def test_files_of_packages_are_read() -> None:
    assert attempt(lambda: Path(os.__file__).read_bytes()) == HAPPENED


@has_filter
@pytest.mark.parametrize(
    "action",
    [
        lambda: socket.socket(socket.AF_INET),
        lambda: socket.socket(socket.AF_UNIX),
        socket.socketpair,
        os.fork,
        lambda: subprocess.run(["/bin/true"], check=True),
        lambda: os.execv("/bin/true", ["true"]),
        lambda: os.kill(os.getppid(), 0),
        lambda: os.memfd_create("a"),
        lambda: os.pidfd_open(os.getppid()),
    ],
    ids=[
        "connect",
        "connect locally",
        "pair of sockets",
        "fork",
        "start",
        "execute",
        "signal",
        "memory file",
        "process handle",
    ],
)
def test_what_reading_does_not_need_is_refused(action: Callable[[], object]) -> None:
    assert attempt(action) == REFUSED


def test_files_of_others_are_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    if not has_landlock():
        pytest.skip("this kernel has no Landlock")
    assert attempt(secret.read_bytes) == REFUSED
    assert attempt(lambda: list(tmp_path.iterdir())) == REFUSED
    assert attempt(lambda: Path("/proc/1/environ").read_bytes()) == REFUSED


def has_landlock() -> bool:
    confinement = Confinement(memory_bytes=MIB)
    return confinement.restricts_files


def test_nothing_is_written(tmp_path: Path) -> None:
    assert attempt(lambda: (tmp_path / "file").write_text("text")) == REFUSED
    assert not (tmp_path / "file").exists() or (tmp_path / "file").read_text() == ""


def test_what_the_parent_has_open_is_closed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    with secret.open("rb") as opened:
        assert attempt(lambda: os.read(opened.fileno(), 1)) == REFUSED


def test_memory_is_bounded() -> None:
    assert attempt(lambda: mmap.mmap(-1, 512 * MIB)) == REFUSED
    assert attempt(lambda: mmap.mmap(-1, 100 * MIB)) == HAPPENED


def test_a_reader_ends_with_who_forked_it() -> None:
    """The process that forks a confined one and ends leaves nothing behind."""
    reading, writing = os.pipe()
    middle = os.fork()
    if middle == 0:
        confinement = Confinement(memory_bytes=64 * MIB)
        confined = os.fork()
        if confined == 0:
            confinement.enter(kept=(writing,))
            os.write(writing, b"in")
            signal.pause()
        os.read(reading, 2)
        os._exit(0)
    os.close(writing)
    os.waitpid(middle, 0)
    assert os.read(reading, 2) == b""
    os.close(reading)
