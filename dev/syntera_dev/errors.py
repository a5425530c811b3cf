"""What can go wrong while a development cluster is built, started or fed. Each message says what to do next."""

from collections.abc import Sequence


class DevError(Exception):
    """A development tool could not do its work."""


class CommandFailed(DevError):
    """A program that the tool called ended with an error or ran out of time."""

    def __init__(self, arguments: Sequence[str], outcome: str, output: str) -> None:
        """Keep the last lines of the output: programs print the reason at the end."""
        tail = "\n".join(output.strip().splitlines()[-25:])
        super().__init__(f"{' '.join(arguments)!r} {outcome}" + (f":\n{tail}" if tail else ""))


class MissingTool(DevError):
    """A program or package of the machine is missing and could not be installed."""


class ComponentFailed(DevError):
    """A component of the cluster ended or did not become healthy in time."""


class ClusterBusy(DevError):
    """Another run holds what this one needs: a name, an address or a lock."""
