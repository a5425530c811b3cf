"""Ways to a tenant's API: a URL that the user names, or a port of this machine that kubectl forwards to the runtime."""

import contextlib
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Self

import httpx2

from syntera_crds.contract import names

from .errors import KubectlMissing, RuntimeUnreachable
from .text import printable

START_SECONDS = 20.0
_FORWARDING = re.compile(r"^Forwarding from 127\.0\.0\.1:(\d+) ")


class FixedUrl:
    """The API at a URL."""

    def __init__(self, url: str) -> None:
        """Check the URL's form.

        Raises:
            RuntimeUnreachable: It is no HTTP URL.
        """
        self._url = url.rstrip("/")
        try:
            parsed = httpx2.URL(self._url)
        except httpx2.InvalidURL:
            parsed = httpx2.URL()
        if parsed.scheme not in {"http", "https"} or not parsed.host:
            raise RuntimeUnreachable(f"{url!r} is no URL of an API; write it like https://acme.chat.example.")
        self.is_local = parsed.host in {"127.0.0.1", "localhost", "::1"}
        """See `Connection`."""

    def url(self) -> str:
        """See `Connection`."""
        return self._url

    def renew(self) -> bool:
        """See `Connection`."""
        return False


class ForwardedPort:
    """`kubectl port-forward` to the runtime's Service. It is ended when the block is left.

    kubectl holds on to one pod: when that goes away, the forwarding is started anew with the next request.
    """

    is_local = True
    """See `Connection`."""

    def __init__(self, namespace: str, *, context: str | None = None) -> None:
        """Nothing is started before the first `url`."""
        self._namespace = namespace
        self._context = context
        self._process: subprocess.Popen[str] | None = None
        self._url = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def url(self) -> str:
        """See `Connection`."""
        if self._process is None or self._process.poll() is not None:
            self._start()
        return self._url

    def renew(self) -> bool:
        """See `Connection`."""
        self._stop()
        return True

    def _start(self) -> None:
        self._stop()
        command = [_find_kubectl(), "port-forward", f"--namespace={self._namespace}", "--address=127.0.0.1"]
        command += [f"--context={self._context}"] if self._context else []
        self._process = subprocess.Popen(
            [*command, f"service/{names.RUNTIME}", ":80"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C at the terminal ends an answer, not the way to the next one
        )
        lines: SimpleQueue[str | None] = SimpleQueue()
        threading.Thread(target=_pump, args=(self._process.stdout, lines), name="kubectl", daemon=True).start()
        self._url = self._await_port(lines)

    def _await_port(self, lines: "SimpleQueue[str | None]") -> str:
        said = ""
        with contextlib.suppress(Empty):
            while (line := lines.get(timeout=START_SECONDS)) is not None:
                found = _FORWARDING.match(line)
                if found:
                    return f"http://127.0.0.1:{found.group(1)}"
                said = line.strip() or said
        self._stop()
        reason = printable(said.removeprefix("error: ")) or f"no answer within {START_SECONDS:.0f} seconds"
        raise RuntimeUnreachable(
            f"The runtime in namespace {self._namespace!r} cannot be reached: kubectl port-forward says: {reason}"
        )

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _pump(output: IO[str], lines: "SimpleQueue[str | None]") -> None:
    """Read what kubectl says as long as it lives, or it would stop when the pipe is full. None: it has ended."""
    with output:
        for line in output:
            lines.put(line)
    lines.put(None)


def _find_kubectl() -> str:
    """The one on the PATH, else one that was installed beside this program."""
    found = shutil.which("kubectl") or shutil.which("kubectl", path=str(Path(sys.executable).parent))
    if found is None:
        raise KubectlMissing("kubectl is not installed; install it, or name the tenant's API with --url.")
    return found
