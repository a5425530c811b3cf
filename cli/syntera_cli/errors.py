"""What stops a command, as one sentence for the person at the terminal that says what to do next."""

from typing import ClassVar


class CliError(Exception):
    """The command cannot do what it was asked to. The message is shown as it is."""

    exit_code: ClassVar[int] = 1


class ClusterUnusable(CliError):
    """The Kubernetes API cannot be asked, or does not allow what is needed."""


class AgentUnavailable(CliError):
    """There is no such agent, or it cannot answer now."""


class RuntimeUnreachable(CliError):
    """The tenant's API does not answer."""


class KubectlMissing(RuntimeUnreachable):
    """Ports cannot be forwarded from this machine."""


class KeyNotFound(CliError):
    """The tenant has no such API key."""


class DocumentNotFound(CliError):
    """The knowledge base has no such document, or several."""


class SyncFailed(CliError):
    """A sync did not come to its end, or not well."""


class RequestRefused(CliError):
    """The tenant's API answered with a problem."""

    def __init__(self, message: str, *, status: int, code: str | None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        """The problem's stable code, None where the answer was no problem of ours."""


class AnswerFailed(CliError):
    """The agent's answer broke off, or there was none."""

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        """The problem's stable code, None where the API stated none."""
