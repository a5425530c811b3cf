"""The kind Agent: who answers a tenant's customers, with which model and which instructions."""

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from ..contract.agent_config import Access, FailureRule
from .common import (
    AGE_COLUMN,
    MESSAGE_COLUMN,
    READY_COLUMN,
    STATUS_COLUMN,
    ConfigMapKeyRef,
    KindInfo,
    Model,
    Name,
    PrinterColumn,
    Resource,
    Status,
)
from .limits import AgentLimits
from .rules import Rule, UniqueBy, broken

MAX_INSTRUCTIONS_LENGTH = 32768
MAX_PARAMETER_DEPTH = 32
"""Levels of lists and objects in `parameters`. No request to a model needs more, and readers of JSON have bounds too."""


# What the runtime puts into the request itself, with the types that make the fields visible to CEL.
_OBJECT = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_LIST = {"type": "array", "items": _OBJECT}
_RESERVED: dict[str, dict[str, Any]] = {
    "functions": _LIST,
    "max_completion_tokens": {"type": "integer"},
    "max_tokens": {"type": "integer"},
    "messages": _LIST,
    "model": {"type": "string"},
    "n": {"type": "integer"},
    "stream": {"type": "boolean"},
    "stream_options": {**_OBJECT, "properties": {"include_usage": {"type": "boolean"}}},
    "temperature": {"type": "number"},
    "tools": _LIST,
    "top_p": {"type": "number"},
}
RESERVED_PARAMETERS = frozenset(_RESERVED)


def _check_depth(parameters: dict[str, Any]) -> dict[str, Any]:
    """Not a `Rule`: CEL cannot look into values whose type no schema tells."""
    level: list[Any] = [parameters]
    for _ in range(MAX_PARAMETER_DEPTH):
        level = [inner for outer in level for inner in _contents(outer)]
    if any(isinstance(value, dict | list) for value in level):
        raise broken(f"must not be nested deeper than {MAX_PARAMETER_DEPTH} levels", field="")
    return parameters


def _contents(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


Parameters = Annotated[
    dict[str, Any],
    Field(
        max_length=32,
        json_schema_extra={
            "x-kubernetes-preserve-unknown-fields": True,
            "properties": {
                name: {**schema, "description": "Set by Syntera; cannot be set here."}
                for name, schema in _RESERVED.items()
            },
        },
    ),
    Rule(
        " && ".join(f"!has(self.{name})" for name in _RESERVED),
        f"must not hold {', '.join(_RESERVED)}: Syntera sets these itself; name, temperature, topP and"
        " maxOutputTokens have fields of their own beside parameters",
        holds=lambda parameters: all(parameters.get(name) is None for name in RESERVED_PARAMETERS),
        reason="FieldValueForbidden",
    ),
    AfterValidator(_check_depth),
]


class InstructionsSource(Model):
    """Where long instructions come from."""

    config_map_key_ref: ConfigMapKeyRef
    """The entry of a ConfigMap in the tenant's namespace. A change of it takes effect like an edit of the Agent."""


class Fallback(Model):
    """A model that is asked when the ones before it cannot answer."""

    endpoint: Name
    """Name of one of the Tenant's model endpoints."""
    name: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """Name of the model. Default: the endpoint's chat model."""


class ModelChoice(Model):
    """Which model answers, and how."""

    endpoint: Name | None = None
    """Name of one of the Tenant's model endpoints. Default: the first that has a chat model."""
    name: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """Name of the model. Default: the endpoint's chat model."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """Sampling temperature. Left out: the client's, else the endpoint's own default."""
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    """Nucleus sampling. Left out: the client's, else the endpoint's own default."""
    max_output_tokens: Annotated[int, Field(ge=1, le=1000000)] | None = None
    """Bound on the tokens of one answer; a client may ask for fewer, not for more. Left out: no bound of ours."""
    parameters: Parameters = {}
    """Further fields of the request to the endpoint, passed through as they are, for example
    `reasoning_effort: low`. Fields that Syntera sets itself cannot be set here, nor anything that is nested deeper than
    32 levels. Left out: none."""
    fallbacks: Annotated[list[Fallback], Field(max_length=4)] = []
    """Models to ask, in this order, when the first cannot answer. They get the same sampling settings, but not
    `parameters`. Left out: none."""


class Memory(Model):
    """What of a conversation the model sees."""

    history_messages: Annotated[int, Field(ge=1, le=500)] = 30
    """How many of the newest messages, the new one included. Default 30."""
    history_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """How many tokens the newest messages may have at most, the new one included, which is always seen whole. Tokens are
    estimated, rather too many than too few: three bytes of text make one, and each message four more; attached text
    files count with 40000 bytes at most in all, and each image with 1500 tokens, 8 at most, where a model takes images. Of this
    and `historyMessages` what lets the model see less counts. Left out: `historyMessages` alone counts."""


class Knowledge(Model):
    """A knowledge base that the agent looks its answers up in."""

    name: Name
    """Name of a KnowledgeBase in the tenant's namespace."""
    top_k: Annotated[int, Field(ge=1, le=50)] | None = None
    """Passages that are found at most. Default: as the KnowledgeBase says."""
    min_score: Annotated[float, Field(ge=0, le=1)] | None = None
    """Passages with a lower score are left out. Default: as the KnowledgeBase says."""


class AgentRetrieval(Model):
    """How what was found in the knowledge bases is used."""

    max_tokens: Annotated[int, Field(ge=100, le=100_000)] = 3000
    """Of passages that the model is shown for one answer, as estimated. Default 3000."""
    on_nothing_found: Annotated[FailureRule, Field(strict=False)] = FailureRule.ANSWER
    """What happens where nothing is found. `Answer` (default): the model is asked, and told that the knowledge bases say
    nothing of the matter. `Refuse`: the agent says its refusal, and no model is asked."""
    on_unavailable: Annotated[FailureRule, Field(strict=False)] = FailureRule.REFUSE
    """The same where a knowledge base cannot be searched. Default `Refuse`."""
    refusal: Annotated[str, Field(min_length=1, max_length=2048)] | None = None
    """What the agent says in place of an answer; may use the same expressions as `instructions`. Left out: a sentence in
    English."""


class Guardrails(Model):
    """What the agent's answers must keep to."""

    require_citations: bool = False
    """True: an answer that cites nothing of what the model was shown is replaced by the refusal. Default false."""


class AgentSpec(Model):
    """What an agent is to be."""

    rules = (
        Rule(
            "has(self.instructions) != has(self.instructionsFrom)",
            "set exactly one of instructions and instructionsFrom",
            holds=lambda spec: (spec.instructions is None) != (spec.instructions_from is None),
        ),
        Rule(
            "!has(self.guardrails) || !has(self.guardrails.requireCitations) || !self.guardrails.requireCitations"
            " || (has(self.knowledge) && self.knowledge.size() > 0)",
            "needs knowledge: without any nothing can be cited",
            holds=lambda spec: not spec.guardrails.require_citations or bool(spec.knowledge),
            field=".guardrails.requireCitations",
        ),
    )

    display_name: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """The agent's name for people. Default: the Agent's name."""
    description: Annotated[str, Field(max_length=1024)] = ""
    """What the agent is for, in a sentence; shown where agents are listed. Left out: nothing is shown."""
    instructions: Annotated[str, Field(min_length=1, max_length=MAX_INSTRUCTIONS_LENGTH)] | None = None
    """What the model is told to be and do. May use `{{tenant.name}}`, `{{tenant.displayName}}`, `{{agent.name}}` and
    `{{agent.displayName}}`. Left out: they come from instructionsFrom."""
    instructions_from: InstructionsSource | None = None
    """Take the instructions from a ConfigMap, for long ones. Left out: instructions has them."""
    model: ModelChoice = ModelChoice()
    """Which model answers. Default: the Tenant's first endpoint and its chat model."""
    greeting: Annotated[str, Field(min_length=1, max_length=2048)] | None = None
    """First message of every conversation, said by the agent; may use the same expressions as `instructions`. Left out:
    the customer begins."""
    suggestions: Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(max_length=16)] = []
    """Questions that a chat window may offer. Left out: none."""
    memory: Memory = Memory()
    """What of a conversation the model sees. Left out: the newest 30 messages."""
    knowledge: Annotated[list[Knowledge], Field(max_length=10), UniqueBy("name")] = []
    """Knowledge bases that the agent looks its answers up in, at every turn. Left out: none."""
    retrieval: AgentRetrieval = AgentRetrieval()
    """How what was found is used. Left out: the model is shown 3000 tokens at most, and the agent refuses where its knowledge
    cannot be searched."""
    guardrails: Guardrails = Guardrails()
    """What answers must keep to. Left out: nothing."""
    limits: AgentLimits = AgentLimits()
    """How much may be used of the agent, and what happens then. Left out: the Tenant's limits alone count."""
    access: Annotated[Access, Field(strict=False)] = Access.AUTHENTICATED
    """Who may talk to the agent, beside the holders of secret API keys. `Public`: visitors too, who have nothing but a
    publishable key of the website. `Authenticated` (default): people who signed in, and those for whom the website
    vouches."""


class AgentStatus(Status):
    """What an agent is now."""

    revision: Annotated[int, Field(ge=0)] | None = None
    """Number of the published configuration; grows by one with every effective change."""
    digest: Annotated[str, Field(max_length=64)] | None = None
    """Hash of the published configuration."""
    url: Annotated[str, Field(max_length=1024)] | None = None
    """Where the agent is found in the tenant's API."""


class Agent(Resource):
    """An assistant that talks to a tenant's customers."""

    info: ClassVar[KindInfo] = KindInfo(
        plural="agents",
        singular="agent",
        short_names=("agt",),
        scope="Namespaced",
        columns=(
            READY_COLUMN,
            STATUS_COLUMN,
            PrinterColumn(
                "Revision", ".status.revision", "Number of the published configuration", type="integer", wide=True
            ),
            PrinterColumn("Model", ".spec.model.name", "The model that the Agent names", wide=True),
            PrinterColumn("URL", ".status.url", "Where it is found in the tenant's API", wide=True),
            MESSAGE_COLUMN,
            AGE_COLUMN,
        ),
    )

    spec: AgentSpec
    status: AgentStatus = AgentStatus()

    @property
    def display_name(self) -> str:
        """The agent's name for people."""
        return self.spec.display_name or self.metadata.name
