"""Keeps the programs of one cluster: starts each once, waits until it is healthy, ends it, and knows after a restart which run.

It knows nothing of what a program is for; the commands are built in `control_plane` and `node`.
"""

import contextlib
import http.client
import secrets
import shutil
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from syntera_dev.errors import ComponentFailed, MissingTool

from .processes import ProcessRecord, only_child, plain_environment, spawn

_POLL_SECONDS = 0.1
_SERVER_PORTS = range(15_000, 30_000)
"""Above most well-known ones, below Kubernetes' node ports (30000 on) and Linux' ephemeral ports (32768 on)."""


@dataclass(frozen=True)
class Component:
    """One program of a cluster and how to tell that it works."""

    name: str
    command: tuple[str, ...]
    is_healthy: Callable[[], bool]
    deadline_seconds: float = 60
    """How long it may take until it is healthy: generous, since a first start may share the processors with a compiler."""


@dataclass(frozen=True)
class ComponentRunner:
    """Runs components with their records and logs in one folder."""

    folder: Path
    enter: tuple[str, ...] = field(default=())
    """A command that runs the rest of its arguments inside the node's namespaces as its only child; empty to run them here."""

    def start(self, component: Component) -> None:
        """Start the component unless it runs; do not wait until it is healthy.

        Raises:
            ComponentFailed: the program could not be started.
        """
        if self.is_running(component.name):
            return
        try:
            pid = spawn(
                [*self.enter, *component.command], log=self.log(component.name), environment=plain_environment()
            )
            record = ProcessRecord.of(only_child(pid) if self.enter else pid)
        except OSError as exc:
            raise self._failure(component.name, f"could not be started: {exc}") from exc
        if record is None:
            raise self._failure(component.name, "ended at once")
        record.save(self._record(component.name))

    def wait(self, component: Component) -> None:
        """Wait until the component is healthy.

        Raises:
            ComponentFailed: it ended, or was not healthy in time.
        """
        deadline = time.monotonic() + component.deadline_seconds
        while not component.is_healthy():
            if not self.is_running(component.name):
                raise self._failure(component.name, "ended")
            if time.monotonic() > deadline:
                raise self._failure(component.name, f"was not healthy within {component.deadline_seconds:.0f} s")
            time.sleep(_POLL_SECONDS)

    def stop(self, name: str, *, grace_seconds: float = 10) -> None:
        """End a component by its record; nothing happens when it does not run."""
        record = ProcessRecord.load(self._record(name))
        if record is not None:
            record.end(grace_seconds=grace_seconds)
        self._record(name).unlink(missing_ok=True)

    def is_running(self, name: str) -> bool:
        """Tell whether the recorded process of a component still runs."""
        record = ProcessRecord.load(self._record(name))
        return record is not None and record.is_running()

    def recorded(self) -> list[str]:
        """Return the names of all components that were started here and not stopped."""
        return sorted(path.stem for path in (self.folder / "pids").glob("*.json"))

    def log(self, name: str) -> Path:
        """Return the log file of a component."""
        return self.folder / "logs" / f"{name}.log"

    def _record(self, name: str) -> Path:
        return self.folder / "pids" / f"{name}.json"

    def _failure(self, name: str, what: str) -> ComponentFailed:
        log = self.log(name)
        tail = log.read_text(errors="replace").splitlines()[-20:] if log.exists() else []
        return ComponentFailed("\n".join([f"{name} {what}; its log {log} ends with:", *tail]))


def find_program(name: str) -> str:
    """Return the full path of an installed program: a start by path does not depend on the caller's PATH.

    Raises:
        MissingTool: it is not installed.
    """
    found = shutil.which(name, path=plain_environment().get("PATH"))
    if found is None:
        raise MissingTool(f"{name!r} is not installed")
    return found


def answers(url: str, *, context: ssl.SSLContext | None = None) -> bool:
    """Tell whether a URL answers 200, without asking the environment's proxies."""
    address = urlsplit(url)
    assert address.hostname is not None
    connection = (
        http.client.HTTPSConnection(address.hostname, address.port, timeout=2, context=context)
        if address.scheme == "https"
        else http.client.HTTPConnection(address.hostname, address.port, timeout=2)
    )
    return _answers(connection, address.path)


def socket_answers(path: Path, url_path: str) -> bool:
    """Tell whether an HTTP server on a unix socket answers 200."""
    return _answers(_UnixConnection(path), url_path)


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback address that nobody listens on, all different.

    They lie below those that systems give to outgoing connections: of those, one could be taken before a server binds it.
    """
    ports: set[int] = set()
    while len(ports) < count:
        port = secrets.choice(_SERVER_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            ports.add(port)
    return list(ports)


def stop_all(runner: ComponentRunner, first: Sequence[str] = (), *, grace_seconds: float = 10) -> None:
    """End every recorded component, those named in `first` before the others."""
    recorded = runner.recorded()
    for name in [*(name for name in first if name in recorded), *(name for name in recorded if name not in first)]:
        runner.stop(name, grace_seconds=grace_seconds)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket, of which the standard library has only the client for TCP."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=2)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _answers(connection: http.client.HTTPConnection, path: str) -> bool:
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
