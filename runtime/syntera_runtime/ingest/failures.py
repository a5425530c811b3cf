"""Why a sync ends before its work is done."""

from ..errors import StoreUnavailable, SynteraError

BUDGET_EXCEEDED = "budget-exceeded"
EMBEDDING_FAILED = "embedding-failed"
KILLED = "killed"
STORE_UNAVAILABLE = "store-unavailable"


class SyncFailed(Exception):
    """The sync as a whole ends. What it has brought in stays."""

    def __init__(self, code: str, message: str, *, is_final: bool) -> None:
        super().__init__(message)
        self.code = code
        """From a list that is kept: it stands in the sync's row and in the status of the KnowledgeBase."""
        self.message = message
        """A sentence of ours that says what to do."""
        self.is_final = is_final
        """Whether trying again, with the same configuration, ends the same way."""


def killed() -> SyncFailed:
    """Somebody has ended the process."""
    return SyncFailed(KILLED, "The sync was ended before its time. The next one goes on where it was.", is_final=False)


def explain(error: BaseException) -> SyncFailed:
    """What a sync says of whatever ended it: of several at once the one that says most."""
    failures = list(_leaves(error))
    for kind in (SyncFailed, SynteraError):
        for failure in failures:
            if isinstance(failure, kind):
                return failure if isinstance(failure, SyncFailed) else _explain_ours(failure)
    if isinstance(error, Exception):
        return SyncFailed(SynteraError.code, "The sync met a fault of ours. Its log says more.", is_final=False)
    return killed()


def _explain_ours(error: BaseException) -> SyncFailed:
    assert isinstance(error, SynteraError)
    code = STORE_UNAVAILABLE if isinstance(error, StoreUnavailable) else error.code
    return SyncFailed(code, error.message, is_final=not error.retryable)


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in _leaves(part)]
    return [error]
