"""One answer in the making: asks the models, keeps what has arrived, and can be stopped from outside.

How it ended is a value, not an exception, because whoever runs it has to store every end.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import structlog

from syntera_crds.contract.agent_config import ModelCandidate

from ..errors import ModelError, ModelTimeout, ModelUnavailable, SynteraError
from ..metrics import Metrics
from ..models.conversations import Failure
from ..models.exchange import FinishReason, ModelEvent, ModelFinished, ModelRequest, ModelStarted, TextDelta
from ..models.knowledge import Citation, Refusal, Retrieval
from ..models.tokens import estimate_messages, estimate_tokens
from ..models.turns import Said, TurnOutcome, Usage
from ..models.usage import Cost, LimitMet
from ..ports.chat_models import ChatModels
from ..usage.costs import cost_of
from .grounding import Cited, Grounding, Retrieved
from .text import clean

log = structlog.get_logger(__name__)

FIRST_TURNS = 8
"""Turns of the event loop in which the first text can get to its reader before more is read: some models send all at once."""
MAX_TOKENS = 2**31
"""Counts are stored as four bytes."""


News = TextDelta | Retrieved | Cited
"""What a generation tells while it runs: first what was looked up, if anything; text; what the text cites, behind it."""


class Generation:
    """Runs once. What has arrived may be read at any time."""

    def __init__(
        self,
        models: ChatModels,
        candidates: Sequence[ModelCandidate],
        request: ModelRequest,
        *,
        grounding: Grounding | None = None,
        prepare: Callable[[ModelRequest], Awaitable[ModelRequest]] | None = None,
        limit: LimitMet | None = None,
    ) -> None:
        """Prepare.

        Args:
            grounding: What the answer stands on. None: on what the model knows by itself.
            prepare: Puts into the request what else has to be read first; what it raises is how the generation ends.
        """
        self._models = models
        self._candidates = candidates
        self._request = request
        self._grounding = grounding
        self._prepare = prepare
        self._has_asked = False
        self._answering: ModelCandidate | None = None
        self._limit = limit
        self._written: list[str] = []
        """What the model has written."""
        self._parts: list[str] = []
        """What of that its readers have got."""
        self._citations: list[Citation] = []
        self._retrieval: Retrieval | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopped_by: SynteraError | None = None
        self._is_interrupted = False
        self.is_stopped = False
        """Somebody who talks to the agent has stopped it."""
        self.endpoint: str | None = None
        self.model: str | None = None
        self.finish_reason: FinishReason | None = None
        self.usage: Usage | None = None
        """None: the endpoint did not say."""
        self.error: SynteraError | None = None
        """Why it ended before the answer was whole."""
        self.refusal: Refusal | None = None
        """Why the text stands in place of an answer."""

    @property
    def said(self) -> Said:
        """What the agent has said until now."""
        return Said(self.text, self.citations, self._retrieval)

    @property
    def text(self) -> str:
        """Its words. What is held back is not said."""
        return "".join(self._parts)

    @property
    def citations(self) -> tuple[Citation, ...]:
        """What the text cites."""
        return tuple(self._citations)

    @property
    def ended_as(self) -> str:
        """`complete`, `stopped` or the code of its error, for metrics."""
        if self.error is not None:
            return self.error.code
        return "stopped" if self.is_stopped else "complete"

    @property
    def asked(self) -> ModelCandidate | None:
        """The model whose tokens were used, as far as is known: the one that answered or, where the answer was not waited for,
        the one that failed to come or the first. None: none was used."""
        if self._answering is not None:
            return self._answering
        was_interrupted = self.is_stopped or (self.error is not None and self.error is self._stopped_by)
        if not self._has_asked or not (was_interrupted or isinstance(self.error, ModelTimeout)):
            return None
        endpoint = _endpoint_of(self.error)
        named = (candidate for candidate in self._candidates if candidate.endpoint == endpoint)
        return next(named, self._candidates[0])

    @property
    def used(self) -> Usage | None:
        """The tokens that it used: what the endpoint said, else an estimate, so that none is without. None: none were."""
        asked = self.asked
        if self.usage is not None or asked is None:
            return self.usage
        prompt = estimate_messages(self._request.messages, with_images=asked.takes_images)
        return Usage(prompt, estimate_tokens("".join(self._written)), is_estimated=True)

    @property
    def cost(self) -> Cost | None:
        """What that cost; None: nothing was used, or nobody has said what the model costs."""
        asked, used = self.asked, self.used
        return None if asked is None or used is None else cost_of(used, asked.price)

    @property
    def outcome(self) -> TurnOutcome:
        """How it ended."""
        asked = self.asked
        return TurnOutcome(
            endpoint=None if asked is None else asked.endpoint,
            model=self.model,
            usage=self.used,
            failure=None if self.error is None else Failure(code=self.error.code, detail=self.error.message),
            is_stopped=self.is_stopped,
            asked_model=None if asked is None else asked.model,
            cost=self.cost,
            limit=self._limit,
        )

    def stop(self, reason: SynteraError) -> None:
        """End it soon, with `reason` as its error. A generation that has ended stays as it is."""
        if self._stopped_by is None:
            self._stopped_by = reason
            self._interrupt()

    def stop_as_asked(self) -> None:
        """End it soon, because somebody who talks to the agent has heard enough. That is no error."""
        if self._stopped_by is None:
            self._is_interrupted = True
            self._interrupt()

    async def run(self, tell: Callable[[News], None], *, seconds: float, metrics: Metrics) -> None:
        """Look up what the answer stands on, ask the models, and `tell` what comes. Returns when it has ended, however it did."""
        clock = _Clock()
        self.error = await self._consume(tell, clock, seconds=seconds)
        if self._grounding is not None and self.error is None and not self.is_stopped:
            self._grounding.note_end(self.refusal)
        if clock.asked_at is None:
            return
        endpoint = self.endpoint or _endpoint_of(self.error) or self._candidates[0].endpoint
        if clock.first_text_at is not None:
            metrics.model_first_text_seconds.labels(endpoint).observe(clock.first_text_at - clock.asked_at)
        metrics.model_seconds.labels(endpoint, self.ended_as).observe(time.monotonic() - clock.asked_at)

    async def _consume(self, tell: Callable[[News], None], clock: "_Clock", *, seconds: float) -> SynteraError | None:
        if self._is_told_to_end():
            return self._stop_reason()
        self._task = asyncio.create_task(self._stream(tell, clock))
        try:
            async with asyncio.timeout(seconds):
                await self._task
        except TimeoutError:
            return ModelTimeout(f"The answer was not complete after {seconds:g} seconds.", endpoint=self.endpoint)
        except SynteraError as error:
            return error
        except asyncio.CancelledError:
            if not self._is_told_to_end():
                raise
            return self._stop_reason()
        except Exception:
            log.exception("generation broke")
            return SynteraError()
        return None

    def _interrupt(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _is_told_to_end(self) -> bool:
        return self._is_interrupted or self._stopped_by is not None

    def _stop_reason(self) -> SynteraError | None:
        """Why it ends early; None, and a note of that, where somebody wanted it so."""
        self.is_stopped = self._stopped_by is None
        return self._stopped_by

    async def _stream(self, tell: Callable[[News], None], clock: "_Clock") -> None:
        if self._grounding is not None and not await self._ground(self._grounding, tell):
            return
        if self._prepare is not None:
            self._request = await self._prepare(self._request)
        await self._ask(tell, clock)
        if self._grounding is not None:
            self._finish(self._grounding, tell)

    async def _ground(self, grounding: Grounding, tell: Callable[[News], None]) -> bool:
        """Look up what the answer stands on. False: there is a refusal in its place."""
        grounded = await grounding.ground(self._request)
        self._request = grounded.request
        self._retrieval = grounded.retrieval
        tell(Retrieved(grounded.retrieval))
        if grounded.refusal is not None:
            self._refuse(grounding, grounded.refusal, tell)
        return grounded.refusal is None

    async def _ask(self, tell: Callable[[News], None], clock: "_Clock") -> None:
        holds_back = self._grounding is not None and self._grounding.holds_back
        self._has_asked, clock.asked_at = True, time.monotonic()
        async with aclosing(self._models.stream(self._candidates, self._request)) as events:
            async for event in events:
                match event:
                    case ModelStarted(endpoint, model, position):
                        self.endpoint, self.model = endpoint, clean(model)
                        self._answering = self._candidates[position]
                    case TextDelta(text):
                        is_first = clock.first_text_at is None
                        clock.first_text_at = clock.first_text_at or time.monotonic()
                        self._written.append(clean(text))
                        if not holds_back:
                            self._say(self._written[-1], tell)
                        if is_first:
                            await _yield_to_readers()
                    case ModelFinished(finish_reason, usage):
                        self.finish_reason, self.usage = finish_reason, _plausible(usage)
        if self.finish_reason is None:
            raise ModelUnavailable("The model's answer broke off. Try again later.", endpoint=self.endpoint)

    def _finish(self, grounding: Grounding, tell: Callable[[News], None]) -> None:
        """Let a whole answer out that was held back, if it may be, and tell what its last line cites."""
        if grounding.holds_back:
            answer = "".join(self._written)
            if not grounding.cites_anything(answer):
                self._refuse(grounding, Refusal.NOT_CITED, tell)
                return
            self._say(answer, tell)
        self._cite(grounding.find_last_citations(), tell)

    def _refuse(self, grounding: Grounding, refusal: Refusal, tell: Callable[[News], None]) -> None:
        self.refusal, self.finish_reason = refusal, "stop"
        self._parts.append(grounding.say_refusal(refusal))
        tell(TextDelta(self._parts[-1]))

    def _say(self, text: str, tell: Callable[[News], None]) -> None:
        self._parts.append(text)
        tell(TextDelta(text))
        if self._grounding is not None:
            self._cite(self._grounding.find_citations(text), tell)

    def _cite(self, citations: Sequence[Citation], tell: Callable[[News], None]) -> None:
        for citation in citations:
            self._citations.append(citation)
            tell(Cited(citation))


class LimitedReply(Generation):
    """What an agent says where a limit is reached. No model is asked."""

    def __init__(self, text: str, limit: LimitMet) -> None:
        super().__init__(_NoModels(), (), ModelRequest(messages=()), limit=limit)
        self._words = clean(text)

    async def run(self, tell: Callable[[News], None], *, seconds: float, metrics: Metrics) -> None:
        """Say it."""
        del seconds, metrics
        self._parts.append(self._words)
        self.finish_reason = "stop"
        tell(TextDelta(self._words))


@dataclass(slots=True)
class _Clock:
    """When things happened, by `time.monotonic`. None: not yet."""

    asked_at: float | None = None
    first_text_at: float | None = None


async def _yield_to_readers() -> None:
    for _ in range(FIRST_TURNS):
        await asyncio.sleep(0)


class _NoModels:
    """Stands for the models of a reply that asks none: it is complete, and that it is never called is its point."""

    def stream(self, candidates: Sequence[ModelCandidate], request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        raise NotImplementedError


def _plausible(usage: Usage | None) -> Usage | None:
    """An endpoint may say anything; what no answer can cost is as good as nothing said."""
    counts = () if usage is None else (usage.prompt_tokens, usage.completion_tokens)
    return usage if all(0 <= count < MAX_TOKENS for count in counts) else None


def _endpoint_of(error: SynteraError | None) -> str | None:
    return error.endpoint if isinstance(error, ModelError) else None
