"""What tests tell the stand-in and what it tells them: behaviour, one-time faults, scripted answers, a journal.

State of one process, without locks: everything happens on one event loop.
"""

from collections import deque
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from syntera_dev.models.settings import Behaviour, Seconds

JOURNAL_LENGTH = 1000

FaultKind = Literal["status", "drop", "malformed", "error-event", "empty", "content-filter", "hang"]


class _Message(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, use_attribute_docstrings=True
    )


class Fault(_Message):
    """Something that goes wrong with the next requests."""

    kind: FaultKind
    """`status`: an error answer. `drop`: the connection ends after some words. `malformed`: a stream that is no JSON.
    `error-event`: an error object inside of a stream. `empty`: an answer without text. `content-filter`: an answer that a
    filter cut short. `hang`: silence after some words."""
    times: Annotated[int, Field(ge=1, le=1000)] = 1
    """How many requests it hits."""
    model: str | None = None
    """Hits requests for this model only. None: all."""
    status: Annotated[int, Field(ge=400, le=599)] = 503
    """For `status`."""
    message: str = "The stand-in was told to fail."
    """For `status` and `error-event`: the text of the error."""
    retry_after_seconds: Annotated[int, Field(ge=0)] | None = None
    """For `status`: the Retry-After header."""
    after_words: Annotated[int, Field(ge=0)] = 0
    """For `drop`, `malformed`, `error-event`, `hang` and `content-filter`: words that are sent before it."""
    seconds: Seconds = 60.0
    """For `hang`: how long."""


class ScriptedAnswer(_Message):
    """The answer to the next request, in place of the rules."""

    text: str
    """What is said."""
    model: str | None = None
    """For requests for this model only. None: all."""


class Received(_Message):
    """A request that came in."""

    path: str
    """For example `/v1/chat/completions`."""
    model: str | None
    """What the client asked for."""
    headers: dict[str, str]
    """Names in lower case; credentials included."""
    body: Any
    """The JSON body as it came."""


class ControlState(_Message):
    """Answer of `GET /control`."""

    behaviour: Behaviour
    faults: list[Fault]
    answers: list[ScriptedAnswer]
    requests: int


class Control:
    """The state behind `/control`."""

    def __init__(self, initial: Behaviour) -> None:
        """Begin with the behaviour of the process's settings."""
        self._initial = initial
        self.reset()

    def reset(self) -> None:
        """Forget everything that tests did."""
        self.behaviour = self._initial
        self.journal: deque[Received] = deque(maxlen=JOURNAL_LENGTH)
        self._faults: list[Fault] = []
        self._answers: list[ScriptedAnswer] = []

    def state(self) -> ControlState:
        """What is set at this moment."""
        return ControlState(
            behaviour=self.behaviour, faults=self._faults, answers=self._answers, requests=len(self.journal)
        )

    def add_faults(self, faults: list[Fault]) -> None:
        """Queue faults; the first that fits a request hits it."""
        self._faults += faults

    def add_answers(self, answers: list[ScriptedAnswer]) -> None:
        """Queue answers; the first that fits a request is given."""
        self._answers += answers

    def take_fault(self, model: str) -> Fault | None:
        """The fault that hits this request, used up once."""
        for index, fault in enumerate(self._faults):
            if fault.model in {None, model}:
                rest = [fault.model_copy(update={"times": fault.times - 1})] if fault.times > 1 else []
                self._faults[index : index + 1] = rest
                return fault
        return None

    def take_answer(self, model: str) -> ScriptedAnswer | None:
        """The scripted answer for this request, removed from the queue."""
        for index, answer in enumerate(self._answers):
            if answer.model in {None, model}:
                return self._answers.pop(index)
        return None
