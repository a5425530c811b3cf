"""One answer in the making: asks the models, keeps what has arrived, and can be stopped from outside.

How it ended is a value, not an exception, because whoever runs it has to store every end.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing

import structlog

from syntera_crds.contract.agent_config import ModelCandidate

from ..errors import ModelError, ModelTimeout, ModelUnavailable, SynteraError
from ..metrics import Metrics
from ..models import Failure, FinishReason, ModelFinished, ModelRequest, ModelStarted, TextDelta, TurnOutcome, Usage
from ..ports import ChatModels
from .text import clean

log = structlog.get_logger(__name__)

MAX_TOKENS = 2**31
"""Counts are stored as four bytes."""


class Generation:
    """Runs once. What has arrived may be read at any time."""

    def __init__(self, models: ChatModels, candidates: Sequence[ModelCandidate], request: ModelRequest) -> None:
        self._models = models
        self._candidates = candidates
        self._request = request
        self._parts: list[str] = []
        self._task: asyncio.Task[None] | None = None
        self._stopped_by: SynteraError | None = None
        self.endpoint: str | None = None
        self.model: str | None = None
        self.finish_reason: FinishReason | None = None
        self.usage: Usage | None = None
        self.error: SynteraError | None = None
        """Why it ended before the answer was whole."""

    @property
    def text(self) -> str:
        """What the model has said until now."""
        return "".join(self._parts)

    @property
    def outcome(self) -> TurnOutcome:
        """How it ended."""
        return TurnOutcome(
            endpoint=self.endpoint,
            model=self.model,
            usage=self.usage,
            failure=None if self.error is None else Failure(code=self.error.code, detail=self.error.message),
        )

    def stop(self, reason: SynteraError) -> None:
        """End it soon, with `reason` as its error. A generation that has ended stays as it is."""
        if self._stopped_by is None:
            self._stopped_by = reason
            if self._task is not None:
                self._task.cancel()

    async def run(self, on_text: Callable[[str], None], *, seconds: float, metrics: Metrics) -> None:
        """Ask the models and hand each piece of text to `on_text`. Returns when it has ended, however it did."""
        started = time.monotonic()
        first_text_at: float | None = None

        def take(text: str) -> None:
            nonlocal first_text_at
            first_text_at = first_text_at or time.monotonic()
            self._parts.append(text)
            on_text(text)

        self.error = await self._consume(take, seconds=seconds)
        endpoint = self.endpoint or _endpoint_of(self.error) or self._candidates[0].endpoint
        if first_text_at is not None:
            metrics.model_first_text_seconds.labels(endpoint).observe(first_text_at - started)
        outcome = "complete" if self.error is None else self.error.code
        metrics.model_seconds.labels(endpoint, outcome).observe(time.monotonic() - started)

    async def _consume(self, take: Callable[[str], None], *, seconds: float) -> SynteraError | None:
        if (reason := self._stop_reason()) is not None:
            return reason
        self._task = asyncio.create_task(self._stream(take))
        try:
            async with asyncio.timeout(seconds):
                await self._task
        except TimeoutError:
            return ModelTimeout(f"The answer was not complete after {seconds:g} seconds.", endpoint=self.endpoint)
        except SynteraError as error:
            return error
        except asyncio.CancelledError:
            if (reason := self._stop_reason()) is None:
                raise
            return reason
        except Exception:
            log.exception("generation broke")
            return SynteraError()
        return None

    def _stop_reason(self) -> SynteraError | None:
        return self._stopped_by

    async def _stream(self, take: Callable[[str], None]) -> None:
        async with aclosing(self._models.stream(self._candidates, self._request)) as events:
            async for event in events:
                match event:
                    case ModelStarted(endpoint, model):
                        self.endpoint, self.model = endpoint, clean(model)
                    case TextDelta(text):
                        take(clean(text))
                    case ModelFinished(finish_reason, usage):
                        self.finish_reason, self.usage = finish_reason, _plausible(usage)
        if self.finish_reason is None:
            raise ModelUnavailable("The model's answer broke off. Try again later.", endpoint=self.endpoint)


def _plausible(usage: Usage | None) -> Usage | None:
    """An endpoint may say anything; what no answer can cost is as good as nothing said."""
    counts = () if usage is None else (usage.prompt_tokens, usage.completion_tokens)
    return usage if all(0 <= count < MAX_TOKENS for count in counts) else None


def _endpoint_of(error: SynteraError | None) -> str | None:
    return error.endpoint if isinstance(error, ModelError) else None
