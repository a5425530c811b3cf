"""What the test servers share: a free port, and an end when the test session ends, however it does."""

import shutil
import socket
from collections.abc import Sequence


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def bound_to_us(command: Sequence[str], *, signal: str) -> list[str]:
    """The command, which gets `signal` when the thread that started it is gone: a killed session leaves no server behind.

    Only Linux can do this; elsewhere the command is returned as it is.
    """
    setpriv = shutil.which("setpriv")
    return [*([setpriv, "--pdeathsig", signal] if setpriv else []), *command]
