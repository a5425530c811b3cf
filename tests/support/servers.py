"""What the test servers share: a free port, and an end when the test session ends, however it does."""

import shutil
from collections.abc import Sequence

from syntera_dev.cluster.components import free_ports


def free_port() -> int:
    """A port of the loopback address that nobody listens on, and that no outgoing connection can take meanwhile."""
    return free_ports(1)[0]


def bound_to_us(command: Sequence[str], *, signal: str) -> list[str]:
    """The command, which gets `signal` when the thread that started it is gone: a killed session leaves no server behind.

    Only Linux can do this; elsewhere the command is returned as it is.
    """
    setpriv = shutil.which("setpriv")
    return [*([setpriv, "--pdeathsig", signal] if setpriv else []), *command]
