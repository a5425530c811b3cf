"""Starts and ends the cluster's programs, so that only what was started here is ever ended.

A process is recorded with its start time and the boot it belongs to: a recycled pid has another start time. Signals go
through a pidfd that was opened before the start time was compared, so the process cannot change in between.
"""

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from syntera_dev.commands import with_administrator_path
from syntera_dev.paths import write_atomically

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_EXITING = 0x4  # PF_EXITING of <linux/sched.h>


@dataclass(frozen=True)
class ProcessRecord:
    """A process that cannot be mistaken for another."""

    pid: int
    start_ticks: int
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> "ProcessRecord | None":
        """Return the record of a running process, None when it has ended or is ending."""
        found = _look_up(pid)
        return None if found is None or found.is_ending else cls(pid, found.start_ticks, _boot_id())

    def save(self, path: Path) -> None:
        """Write the record to a file."""
        write_atomically(path, json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> "ProcessRecord | None":
        """Read a record; None when there is none or the file is not one."""
        try:
            return cls(**json.loads(path.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def is_running(self) -> bool:
        """Tell whether this very process still runs. One that has ended and is not yet reaped does not run."""
        return ProcessRecord.of(self.pid) == self

    def end(self, *, grace_seconds: float = 10) -> None:
        """Ask the process to end, make it after the grace time, return when it has. No effect on any other process."""
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(self.pid)
            try:
                if self._is_there():
                    _end(descriptor, grace_seconds=grace_seconds)
            finally:
                os.close(descriptor)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)

    def _is_there(self) -> bool:
        """Tell whether the process still has its pid, be it that it is ending: the end of a namespace's first takes a while."""
        found = _look_up(self.pid)
        return found is not None and (found.start_ticks, _boot_id()) == (self.start_ticks, self.boot_id)


def plain_environment() -> dict[str, str]:
    """Return an environment without the caller's proxies and settings, which the cluster's programs would obey."""
    names = ("HOME", "PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "TMPDIR")
    return with_administrator_path({name: os.environ[name] for name in names if name in os.environ})


def spawn(arguments: Sequence[str], *, log: Path, environment: Mapping[str, str]) -> int:
    """Start a program in a session of its own, its output appended to a log file, and return its pid.

    Not `subprocess.Popen`: it warns about a child that outlives it, and these do on purpose.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawnp(
        arguments[0],
        list(arguments),
        environment,
        setsid=True,
        setsigdef=(signal.SIGPIPE,),  # ignored by Python, and that is inherited
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )


def only_child(parent: int, *, timeout_seconds: float = 10) -> int:
    """Return the pid of the single child of a process that starts exactly one, such as `nsenter`.

    Raises:
        ProcessLookupError: the process ended, or has no child in time.
    """
    deadline = time.monotonic() + timeout_seconds
    while ProcessRecord.of(parent) is not None and time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
            if children:
                return int(children[0])
        time.sleep(0.01)
    raise ProcessLookupError(f"process {parent} started no program")


def _end(descriptor: int, *, grace_seconds: float) -> None:
    signal.pidfd_send_signal(descriptor, signal.SIGTERM)
    if not _has_ended(descriptor, grace_seconds):
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        _has_ended(descriptor, 10)


def _has_ended(descriptor: int, timeout_seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout_seconds * 1000))


@dataclass(frozen=True)
class _Found:
    start_ticks: int
    is_ending: bool


def _look_up(pid: int) -> _Found | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in parentheses and may hold anything; the state follows the last parenthesis.
    fields = text.rpartition(")")[2].split()
    return _Found(int(fields[19]), is_ending=fields[0] in ("Z", "X") or bool(int(fields[6]) & _EXITING))


def _boot_id() -> str:
    return _BOOT_ID.read_text().strip()
