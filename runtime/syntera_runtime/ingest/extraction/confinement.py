"""How a child process gives up what it does not need, before it reads anything that a stranger wrote.

Bounds of the kernel on memory and files (on computing, by document, in `readers`); Landlock, so that it reads the interpreter's files and no others (not the Secrets that are
mounted into the Job); a filter of system calls, so that it can open no connection, start no program and signal no process. None
needs a privilege: a pod under Pod Security `restricted` may do all of it. Where a kernel has no Landlock, or the machine is of another
kind than the filter knows, the child works without: the bounds and the parent's clock hold everywhere.
"""

import contextlib
import ctypes
import errno
import os
import platform
import resource
import signal
import struct
import sys
import sysconfig
from pathlib import Path

MOST_OPEN_FILES = 64

_LAST_STANDARD = 2
"""Descriptors up to this one lead nowhere."""
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_SECCOMP_RET_ALLOW = 0x7FFF0000
_SECCOMP_RET_ERRNO = 0x00050000
_SECCOMP_RET_KILL_PROCESS = 0x80000000
_X32 = 0x40000000
"""Bit of the numbers of a second set of system calls that x86-64 has."""

_FORBIDDEN_CALLS: dict[str, tuple[int, int | None]] = {
    "socket": (41, 198),
    "connect": (42, 203),
    "accept": (43, 202),
    "accept4": (288, 242),
    "sendto": (44, 206),
    "bind": (49, 200),
    "listen": (50, 201),
    "socketpair": (53, 199),
    "execve": (59, 221),
    "execveat": (322, 281),
    "clone": (56, 220),
    "clone3": (435, 435),
    "fork": (57, None),
    "vfork": (58, None),
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438),
    "io_uring_setup": (425, 425),
    "bpf": (321, 280),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "mount": (165, 40),
    "unshare": (272, 97),
    "setns": (308, 268),
    "memfd_create": (319, 279),
    "userfaultfd": (323, 282),
    "perf_event_open": (298, 241),
}
"""Numbers on x86-64 and on 64-bit ARM; None: there is none."""
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""Audit's names for them."""

# Instructions of the filter, and where it finds the call's number and architecture.
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _ANSWER = 0x20, 0x15, 0x35, 0x06
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4

_LANDLOCK_CREATE_RULESET = 444
_LANDLOCK_ADD_RULE = 445
_LANDLOCK_RESTRICT_SELF = 446
_LANDLOCK_RULE_PATH_BENEATH = 1
_LANDLOCK_CREATE_RULESET_VERSION = 1
_EVERY_ACCESS = (1 << 13) - 1
"""What the first version of Landlock knows of: executing, reading, writing, listing, making and removing."""
_READ = 1 << 2
_LIST = 1 << 3


class Confinement:
    """What a process is about to give up, prepared once and shared with the processes that are forked."""

    def __init__(self, *, memory_bytes: int) -> None:
        """
        Args:
            memory_bytes: How much more address space a process may take than this one has.
        """
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._bounds = _build_bounds(memory_bytes)
        self._files = _build_file_rules(self._libc)
        self._calls = _build_filter(platform.machine())

    @property
    def restricts_files(self) -> bool:
        """Whether the kernel has Landlock."""
        return self._files is not None

    def enter(self, *, kept: tuple[int, ...]) -> None:
        """Give up everything but computing with what is imported already and with the descriptors in `kept`. There is no way back."""
        self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        _close_all_but(kept, rules=self._files)
        for bound, most in self._bounds.items():
            resource.setrlimit(bound, (most, most))
        if self._libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            return
        if self._files is not None:
            self._libc.syscall(_LANDLOCK_RESTRICT_SELF, self._files, 0)
        if self._calls is not None:
            self._libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(self._calls), 0, 0)


def _close_all_but(kept: tuple[int, ...], *, rules: int | None) -> None:
    """What else is open belongs to the process that forked, and to its other readers. Of `rules` nothing but restricting oneself can
    be made."""
    for entry in list(Path("/proc/self/fd").iterdir()):
        descriptor = int(entry.name)
        if descriptor > _LAST_STANDARD and descriptor not in kept and descriptor != rules:
            # The listing's own is among them.
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _build_bounds(memory_bytes: int) -> dict[int, int]:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    wanted = {
        resource.RLIMIT_AS: pages * resource.getpagesize() + memory_bytes,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: MOST_OPEN_FILES,
        # Root is not bound by it; the filter of system calls binds root too.
        resource.RLIMIT_NPROC: 0,
    }
    return {bound: _bound_by_hard_limit(bound, most) for bound, most in wanted.items()}


def _bound_by_hard_limit(bound: int, most: int) -> int:
    hard = resource.getrlimit(bound)[1]
    return most if hard == resource.RLIM_INFINITY else min(most, hard)


def _build_file_rules(libc: ctypes.CDLL) -> int | None:
    """Descriptor of rules that leave the files of the interpreter and its packages readable: libraries open data of theirs when they
    first need it. None: the kernel knows no such rules."""
    if libc.syscall(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_CREATE_RULESET_VERSION) < 1:
        return None
    attributes = ctypes.c_uint64(_EVERY_ACCESS)
    rules: int = libc.syscall(_LANDLOCK_CREATE_RULESET, ctypes.byref(attributes), ctypes.sizeof(attributes), 0)
    if rules < 0:
        return None
    for path in _readable_paths():
        _allow_reading(libc, rules, path)
    return rules


def _readable_paths() -> set[Path]:
    scheme = sysconfig.get_paths()
    packages = {Path(scheme[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    of_ours = {Path(entry) for entry in sys.path if entry}
    return packages | of_ours | {Path("/usr/share/zoneinfo"), Path("/dev/null"), Path("/dev/urandom")}


def _allow_reading(libc: ctypes.CDLL, rules: int, path: Path) -> None:
    try:
        directory = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        access = _READ | _LIST if path.is_dir() else _READ
        # The kernel's structure is packed: 64 bits of access, 32 of a descriptor.
        rule = ctypes.create_string_buffer(struct.pack("=QI", access, directory), 12)
        libc.syscall(_LANDLOCK_ADD_RULE, rules, _LANDLOCK_RULE_PATH_BENEATH, rule, 0)
    finally:
        os.close(directory)


class _Filter(ctypes.Structure):
    """What the kernel calls `sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _build_filter(machine: str) -> _Filter | None:
    """Berkeley packet filter: the forbidden calls fail with EPERM, those of another architecture end the process.
    None: the machine is of a kind whose calls are not known here."""
    architecture = _ARCHITECTURES.get(machine)
    if architecture is None:
        return None
    column = list(_ARCHITECTURES).index(machine)
    forbidden = [number for numbers in _FORBIDDEN_CALLS.values() if (number := numbers[column]) is not None]
    count = len(forbidden)
    program = [
        _statement(_LOAD, _ARCHITECTURE_AT),
        _statement(_JUMP_EQUAL, architecture, if_true=1),
        _statement(_ANSWER, _SECCOMP_RET_KILL_PROCESS),
        _statement(_LOAD, _NUMBER_AT),
        _statement(_JUMP_AT_LEAST, _X32, if_true=count + 1),
        *(_statement(_JUMP_EQUAL, number, if_true=count - position) for position, number in enumerate(forbidden)),
        _statement(_ANSWER, _SECCOMP_RET_ALLOW),
        _statement(_ANSWER, _SECCOMP_RET_ERRNO | errno.EPERM),
    ]
    return _Filter(len(program), b"".join(program))


def _statement(code: int, value: int, *, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
