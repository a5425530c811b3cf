"""The operator as a program, on a real API server that writes down every request (the API server's own audit log)."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from syntera_dev.cluster.components import free_ports
from tests.support.servers import bound_to_us

_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [{"level": "Metadata"}],
}
_WRITES = {"create", "update", "patch", "delete", "deletecollection"}
_WAIT_SECONDS = 60
_ANSWER_SECONDS = 20
_PROBE_SECONDS = 1.0
_FAILURE_THRESHOLD = 3
"""As in the chart."""

PROGRAM = ("-m", "syntera_operator")
"""What Python runs."""


@dataclass(frozen=True, slots=True)
class Write:
    """A request that was to change something, Leases apart."""

    user: str
    what: str
    """`verb resource/subresource`."""
    began: datetime
    ended: datetime
    status: int


@dataclass(frozen=True, slots=True)
class Audit:
    """Everything that an API server was asked."""

    file: Path

    @staticmethod
    def flags(folder: Path) -> list[str]:
        """What makes an API server write its audit log into `folder`."""
        policy = folder / "policy.json"
        policy.write_text(json.dumps(_AUDIT_POLICY))
        return [
            f"--audit-policy-file={policy}",
            f"--audit-log-path={folder / 'audit.log'}",
            "--audit-log-mode=blocking",
        ]

    def writes(self, *, agent: str, since: int = 0) -> Counter[str]:
        """What a program, named by its User-Agent, wrote, Leases apart: `verb resource/subresource`, how often."""
        return Counter(self.list_writes(agent=agent, since=since))

    def list_writes(self, *, agent: str, since: int = 0) -> list[str]:
        """The same, one by one."""
        return [_describe(event) for event in self._writes(since) if event["userAgent"] == agent]

    def writes_of(self, *users: str, since: int = 0) -> list[Write]:
        """What the programs that log in as `users` tried to write, in the order in which it came."""
        found = [
            Write(
                event["user"]["username"],
                _describe(event),
                datetime.fromisoformat(event["requestReceivedTimestamp"]),
                datetime.fromisoformat(event["stageTimestamp"]),
                event["responseStatus"]["code"],
            )
            for event in self._writes(since)
            if event["user"]["username"] in users
        ]
        return sorted(found, key=lambda write: write.began)

    def led_from(self, user: str, *, since: int = 0) -> datetime:
        """When the program that logs in as `user` had first taken or renewed the Lease."""
        return min(
            datetime.fromisoformat(event["stageTimestamp"])
            for event in self._events()[since:]
            if event["user"]["username"] == user
            and event["verb"] in _WRITES
            and (event.get("objectRef") or {}).get("resource") == "leases"
            and event["responseStatus"]["code"] < 300
        )

    def agents(self) -> set[str]:
        """Every User-Agent that wrote something."""
        return {event["userAgent"] for event in self._events() if event["verb"] in _WRITES}

    def position(self) -> int:
        """How much there is by now."""
        return len(self._events())

    def _writes(self, since: int) -> list[dict[str, Any]]:
        def is_write(event: dict[str, Any]) -> bool:
            return event["verb"] in _WRITES and (event.get("objectRef") or {}).get("resource") != "leases"

        return [event for event in self._events()[since:] if is_write(event)]

    def _events(self) -> list[dict[str, Any]]:
        text = self.file.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def _describe(event: dict[str, Any]) -> str:
    ref = event["objectRef"]
    part = f"/{ref['subresource']}" if ref.get("subresource") else ""
    return f"{event['verb']} {ref['resource']}{part}"


class OperatorProcess:
    """One running `python -m syntera_operator`, or another `program` that stands in for it."""

    def __init__(
        self,
        folder: Path,
        settings: dict[str, str],
        *,
        name: str = "operator-0",
        program: tuple[str, ...] = PROGRAM,
        python: Path = Path(sys.executable),
    ) -> None:
        self.name = name
        self.log_file = folder / f"{name}-{time.monotonic_ns()}.log"
        self._metrics_port, self._probe_port = free_ports(2)
        variables = {
            **{key: value for key, value in os.environ.items() if not key.startswith("SYNTERA_")},
            **settings,
            "SYNTERA_POD_NAME": name,
            "SYNTERA_METRICS_PORT": str(self._metrics_port),
            "SYNTERA_PROBE_PORT": str(self._probe_port),
        }
        with self.log_file.open("w") as log:
            command = bound_to_us([str(python), *program], signal="KILL")
            self.process = subprocess.Popen(command, env=variables, stdout=log, stderr=subprocess.STDOUT)

    @property
    def log(self) -> str:
        """What it said so far."""
        return self.log_file.read_text()

    def wait_until(self, check: Callable[[], Any], *, seconds: float = _WAIT_SECONDS) -> float:
        """Wait until `check` is true, and say how long that took.

        Raises:
            AssertionError: it did not become true, or the process ended; with the log.
        """
        started = time.monotonic()
        while not check():
            assert self.process.poll() is None, f"the operator ended:\n{self.log}"
            assert time.monotonic() - started < seconds, f"waited {seconds} s in vain:\n{self.log[-6000:]}"
            time.sleep(0.02)
        return time.monotonic() - started

    @property
    def metrics_url(self) -> str:
        """Where it tells its figures."""
        return f"http://127.0.0.1:{self._metrics_port}/metrics"

    def metric(self, name: str, **labels: str) -> float:
        """The sum of all series of a metric that carry these labels; 0 while the process does not answer."""
        try:
            with urllib.request.urlopen(self.metrics_url, timeout=_ANSWER_SECONDS) as answer:
                text = answer.read().decode()
        except OSError:
            return 0.0
        total = 0.0
        for line in text.splitlines():
            match = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
            if match and all(f'{key}="{value}"' in (match[1] or "") for key, value in labels.items()):
                total += float(match[2])
        return total

    def is_leader(self) -> bool:
        """Whether it holds the Lease."""
        return self.metric("syntera_leader") == 1

    def probe(self, path: str) -> int:
        """The status of `/healthz` or `/readyz`, 0 while the process does not answer."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self._probe_port}{path}", timeout=_ANSWER_SECONDS
            ) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as exc:
            return exc.code
        except OSError:
            return 0

    def resident_mebibytes(self) -> float:
        """Its memory now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) / 1024

    def terminate(self) -> int:
        """Ask it to end, as the kubelet does; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def kill(self) -> None:
        """End it without asking."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=10)


class OperatorPod:
    """An operator that is started again when it ended, or said three times that it is not healthy, as the kubelet does it.

    It is looked after while somebody waits for something, and without the kubelet's pauses.
    """

    def __init__(self, start: Callable[[], OperatorProcess]) -> None:
        self._start = start
        self.process = start()
        self.ends: list[str] = []
        """Why each of the earlier processes ended: `exit <code>` or `unhealthy`."""
        self._unhealthy = 0
        self._looked_at = time.monotonic()

    def wait_until(self, check: Callable[[], Any], *, seconds: float = 2 * _WAIT_SECONDS) -> float:
        """Wait until `check` is true, and say how long that took.

        Raises:
            AssertionError: it did not become true; with the log.
        """
        started = time.monotonic()
        while not check():
            self._look_after()
            assert time.monotonic() - started < seconds, f"waited in vain; {self.ends}:\n{self.process.log[-6000:]}"
            time.sleep(0.05)
        return time.monotonic() - started

    def is_leader(self) -> bool:
        """Whether it holds the Lease."""
        return self.process.is_leader()

    def _look_after(self) -> None:
        code = self.process.process.poll()
        if code is not None:
            self._start_again(f"exit {code}")
        elif time.monotonic() - self._looked_at >= _PROBE_SECONDS:
            self._looked_at = time.monotonic()
            self._unhealthy = self._unhealthy + 1 if self.process.probe("/healthz") == 503 else 0
            if self._unhealthy >= _FAILURE_THRESHOLD:
                self.process.kill()
                self._start_again("unhealthy")

    def _start_again(self, why: str) -> None:
        self.ends.append(why)
        self._unhealthy = 0
        self.process = self._start()
