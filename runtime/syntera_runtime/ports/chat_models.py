"""Asking models."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from syntera_crds.contract.agent_config import ModelCandidate
from syntera_runtime.models.exchange import ModelEvent, ModelRequest


class ChatModels(Protocol):
    """Asks models."""

    def stream(self, candidates: Sequence[ModelCandidate], request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """The answer of the first candidate that gives one: `ModelStarted`, any number of `TextDelta`, `ModelFinished`.

        Falls back to the next candidate only before the first `TextDelta`. Closing the generator ends the request.

        Raises:
            ModelUnavailable: No candidate could be reached, or the answer broke off.
            ModelTimeout: The last candidate did not answer in time.
            ModelRefused: The last candidate refused the credentials or the request.
            SecretMissing: The last candidate needs a Secret that is not there.
        """
        ...
