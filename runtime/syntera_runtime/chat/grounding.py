"""What one reply stands on: looks knowledge up before a model is asked, keeps what the model was given, and finds what the
answer cites of it.

Who asks decides which documents there are. Where nothing was found, or nobody could look, the agent's own rule says what it
does: never does it answer as if it knew.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from syntera_crds.contract.agent_config import AgentConfig, FailureRule

from ..knowledge.audience import audience_of
from ..knowledge.lookup import Found, Lookup
from ..metrics import Metrics
from ..models.exchange import ModelMessage, ModelRequest
from ..models.identity import Principal
from ..models.ids import ContactId
from ..models.knowledge import Citation, Refusal, Retrieval
from .citations import Marker, MarkerScanner, find_markers
from .passages import NOTHING_FOUND, UNAVAILABLE, Given, build_question, choose_passages, ground
from .text import clean

log = structlog.get_logger(__name__)

SEARCH_SECONDS = 5.0
"""How long a turn looks things up: people wait for the first word meanwhile."""

_REFUSALS = {
    Refusal.NOTHING_FOUND: "I have no information on that.",
    Refusal.KNOWLEDGE_UNAVAILABLE: "I cannot look that up at the moment. Please try again later.",
    Refusal.NOT_CITED: "I have no reliable information on that.",
}


@dataclass(frozen=True, slots=True)
class Retrieved:
    """Knowledge was looked up. Comes before any text."""

    retrieval: Retrieval


@dataclass(frozen=True, slots=True)
class Cited:
    """The text cites a passage from here on."""

    citation: Citation


@dataclass(frozen=True, slots=True)
class Grounded:
    """What is to be done now that knowledge was looked up."""

    retrieval: Retrieval
    request: ModelRequest
    refusal: Refusal | None = None
    """To be said; no model is asked then."""


class Grounding:
    """Of one reply."""

    def __init__(
        self,
        lookup: Lookup,
        principal: Principal,
        agent: AgentConfig,
        question: str,
        *,
        customer: ContactId | None,
        metrics: Metrics,
        seconds: float,
    ) -> None:
        self._lookup = lookup
        self._tenant_id = principal.tenant_id
        self._audience = audience_of(principal, customer=customer)
        self._agent = agent
        self._question = question
        self._metrics = metrics
        self._seconds = seconds
        self._given: dict[int, Given] = {}
        self._scanner = MarkerScanner()
        self._cited: set[int] = set()

    @property
    def holds_back(self) -> bool:
        """Whether nobody may see the answer before it is known to cite something."""
        return self._agent.guardrails.require_citations

    async def ground(self, request: ModelRequest) -> Grounded:
        """The request with what is known on the question, or that nothing is."""
        started = time.monotonic()
        found = await self._look_up()
        given = choose_passages(found.passages, most_tokens=self._agent.retrieval.max_tokens)
        self._given = {one.number: one for one in given}
        failure = found.failure
        retrieval = Retrieval(tuple(found.searches), len(given), time.monotonic() - started, failure)
        self._report(retrieval)
        if given:
            return Grounded(retrieval, _with_messages(request, ground(request.messages, given)))
        rules = self._agent.retrieval
        rule = rules.on_nothing_found if failure is None else rules.on_unavailable
        if rule is FailureRule.REFUSE or self.holds_back:  # an answer could cite nothing
            return Grounded(
                retrieval, request, Refusal.NOTHING_FOUND if failure is None else Refusal.KNOWLEDGE_UNAVAILABLE
            )
        note = None
        if self._question:  # of a picture without words nobody asked anything that documents could answer
            note = NOTHING_FOUND if failure is None else UNAVAILABLE
        return Grounded(retrieval, _with_messages(request, ground(request.messages, (), note=note)))

    def say_refusal(self, refusal: Refusal) -> str:
        """What the agent says in place of an answer."""
        return clean(self._agent.retrieval.refusal or _REFUSALS[refusal])

    def find_citations(self, text: str) -> list[Citation]:
        """What the next piece of the answer cites that nothing before it did."""
        return self._take(self._scanner.feed(text))

    def find_last_citations(self) -> list[Citation]:
        """The same, now that the answer is whole."""
        return self._take(self._scanner.flush())

    def cites_anything(self, text: str) -> bool:
        """Whether a whole answer cites a passage that the model was given."""
        return any(number in self._given for marker in find_markers(text) for number in marker.numbers)

    def note_end(self, refusal: Refusal | None) -> None:
        """Count what came of it: the reply is whole."""
        outcome = ("cited" if self._cited else "uncited") if refusal is None else refusal.value
        self._metrics.grounded_replies.labels(self._agent.name, outcome).inc()

    async def _look_up(self) -> Found:
        return await self._lookup.look_up(
            self._tenant_id,
            self._agent.knowledge,
            self._question,
            audience=self._audience,
            seconds=self._seconds,
        )

    def _take(self, markers: Sequence[Marker]) -> list[Citation]:
        numbers = dict.fromkeys(number for marker in markers for number in marker.numbers)
        new = [number for number in numbers if number in self._given and number not in self._cited]
        self._cited.update(new)
        return [self._given[number].citation for number in new]

    def _report(self, retrieval: Retrieval) -> None:
        outcome = retrieval.failure or ("found" if retrieval.passages else "nothing-found")
        self._metrics.retrievals.labels(self._agent.name, outcome).inc()
        self._metrics.passages_given.labels(self._agent.name).inc(retrieval.passages)
        log.info(
            "knowledge looked up",
            agent=self._agent.name,
            outcome=outcome,
            passages=retrieval.passages,
            documents=[str(one.passage.document_id) for one in self._given.values()],
            seconds=round(retrieval.seconds, 3),
        )


class Groundings:
    """Makes what replies stand on."""

    def __init__(self, lookup: Lookup, *, metrics: Metrics, seconds: float = SEARCH_SECONDS) -> None:
        self._lookup = lookup
        self._metrics = metrics
        self._seconds = seconds

    def open(
        self, principal: Principal, agent: AgentConfig, *, said: Sequence[str], customer: ContactId | None
    ) -> Grounding | None:
        """What the reply to the user's messages `said`, the newest last, stands on; None: the agent looks nothing up.

        Args:
            principal: Who said the newest.
            agent: Who replies.
            said: In a conversation, or in none.
            customer: Whose conversation it is; None: nobody's who is a customer.
        """
        if not agent.knowledge and not agent.guardrails.require_citations:
            return None
        previous = said[-2] if len(said) > 1 else None
        question = build_question(said[-1] if said else "", previous)
        return Grounding(
            self._lookup,
            principal,
            agent,
            question,
            customer=customer,
            metrics=self._metrics,
            seconds=self._seconds,
        )


def _with_messages(request: ModelRequest, messages: tuple[ModelMessage, ...]) -> ModelRequest:
    return replace(request, messages=messages)
