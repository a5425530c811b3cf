"""A real server of the S3 protocol, which keeps objects in a folder: one per session, started when the first test asks."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from syntera_dev.build.binaries import ensure_binary
from tests.support.servers import bound_to_us, free_port

REGION = "eu-central-1"
_DEADLINE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class S3Server:
    """Where it answers, whom it lets in, and where its buckets are."""

    url: str
    access_key_id: str
    secret_access_key: str
    folder: Path

    def make_bucket(self, name: str) -> Path:
        """A new bucket; its objects are files below the folder that is given."""
        bucket = self.folder / name
        bucket.mkdir()
        return bucket


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """The session's server; it is stopped at the end."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="syntera-s3-") as folder:
        server = S3Server(f"http://127.0.0.1:{port}", "tests", "a secret of the tests", Path(folder))
        binary = str(ensure_binary("versitygw"))
        command = [binary, "--port", f"127.0.0.1:{port}", "--region", REGION, "posix", folder]
        keys = {"ROOT_ACCESS_KEY": server.access_key_id, "ROOT_SECRET_KEY": server.secret_access_key}
        process = subprocess.Popen(
            bound_to_us(command, signal="TERM"),
            env={**os.environ, **keys},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_until_it_answers(server, process)
            yield server
        finally:
            process.terminate()
            process.wait(timeout=10)


def _wait_until_it_answers(server: S3Server, process: subprocess.Popen[bytes]) -> None:
    ends_at = time.monotonic() + _DEADLINE_SECONDS
    while True:
        try:
            httpx.get(server.url, timeout=1)
        except httpx.TransportError:
            assert process.poll() is None, "the S3 server has ended"
            assert time.monotonic() < ends_at, "the S3 server does not answer"
            time.sleep(0.05)
        else:
            return
