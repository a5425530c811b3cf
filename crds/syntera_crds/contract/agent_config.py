"""What the operator publishes for an Agent and a runtime serves: complete, resolved, without secrets."""

from enum import StrEnum
from typing import Any

from .published import Published, Revised


class SecretKey(Published):
    """One entry of a Secret in the tenant's namespace. The value is read by the runtime, never by the operator."""

    name: str
    key: str


class HeaderFromSecret(Published):
    """An HTTP header whose value comes from a Secret."""

    name: str
    secret: SecretKey


class ModelPrice(Published):
    """What a model costs."""

    currency: str
    """ISO 4217."""
    input_per_million_tokens: str
    """A decimal number with at most six decimals, as its author wrote it; never a float."""
    output_per_million_tokens: str


class EndpointAccess(Published):
    """How one of the Tenant's model endpoints is reached."""

    endpoint: str
    """Its name."""
    base_url: str
    timeout_seconds: float
    api_key: SecretKey | None = None
    """None: the endpoint asks for no key."""
    headers: dict[str, str] = {}
    headers_from: list[HeaderFromSecret] = []
    ca_bundle: str | None = None
    """PEM certificates to trust for this endpoint instead of the public ones."""
    proxy_url: str | None = None

    def secret_keys(self) -> frozenset[SecretKey]:
        """Entries of Secrets that must be readable to reach it."""
        own = () if self.api_key is None else (self.api_key,)
        return frozenset((*own, *(header.secret for header in self.headers_from)))


class ModelAccess(EndpointAccess):
    """How a model is reached at one of the Tenant's endpoints."""

    model: str
    """The model's name, as the endpoint knows it."""
    price: ModelPrice | None = None
    """None: nobody has said what the model costs."""


class ModelCandidate(ModelAccess):
    """One model to ask. The first candidate that answers wins; the others are its fallbacks, in order."""

    max_tokens_parameter: str = "max_completion_tokens"
    """How the endpoint calls the bound on output tokens: `max_tokens` or `max_completion_tokens`."""
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    parameters: dict[str, Any] = {}
    """Further fields of the request body, passed through as they are."""
    takes_images: bool = False
    """Whether the model can be shown images."""


class Access(StrEnum):
    """Who may talk to an agent, apart from the holders of secret keys."""

    PUBLIC = "Public"
    """Visitors too, who hold nothing but what a publishable key gave them."""
    AUTHENTICATED = "Authenticated"
    """People who signed in, and those for whom the site vouches."""


class AgentLimits(Published):
    """How much may be used of an agent, and what happens then. None: no limit."""

    tokens_per_conversation: int | None = None
    turns_per_conversation: int | None = None
    soft_models: list[ModelCandidate] = []
    """Asked in place of `models` where a limit is nearly reached. Empty: `models` are."""
    soft_history_messages: int | None = None
    """In place of `history_messages` where a limit is nearly reached, if it is less. None: that one."""
    message: str | None = None
    """What the agent says where a limit is reached, rendered. None: the runtime's own words."""


class FailureRule(StrEnum):
    """What an agent does where its knowledge gives it nothing to stand on."""

    REFUSE = "Refuse"
    """It says its refusal, and no model is asked."""
    ANSWER = "Answer"
    """The model is asked, and told that it knows nothing of the matter from the knowledge bases."""


class AgentKnowledge(Published):
    """A knowledge base that an agent looks its answers up in. None: as the knowledge base says."""

    name: str
    top_k: int | None = None
    min_score: float | None = None


class AgentRetrieval(Published):
    """How what was found is used."""

    max_tokens: int = 3000
    """Of passages in one prompt, as estimated."""
    on_nothing_found: FailureRule = FailureRule.ANSWER
    on_unavailable: FailureRule = FailureRule.REFUSE
    refusal: str | None = None
    """What the agent says instead of an answer, rendered. None: the runtime's own words."""


class AgentGuardrails(Published):
    """What an agent must keep to."""

    require_citations: bool = False
    """An answer that cites nothing it was given is replaced by the refusal."""


class AgentConfig(Revised):
    """Everything a runtime needs to serve one Agent."""

    name: str
    uid: str
    """The Agent object's uid: an agent deleted and made anew is another one."""
    revision: int
    """Grows by one with every effective change."""
    display_name: str
    description: str = ""
    instructions: str
    """Rendered: no template expression is left in it."""
    models: list[ModelCandidate]
    """At least one."""
    greeting: str | None = None
    suggestions: list[str] = []
    history_messages: int = 30
    """How many of the newest messages of a conversation the model sees, the new one included."""
    history_tokens: int | None = None
    """How many tokens, as estimated, the newest messages may have, the new one included. None: no bound."""
    access: Access = Access.AUTHENTICATED
    """Who may talk to the agent."""
    limits: AgentLimits = AgentLimits()
    knowledge: list[AgentKnowledge] = []
    """Knowledge bases that every turn is looked up in. Empty: none."""
    retrieval: AgentRetrieval = AgentRetrieval()
    guardrails: AgentGuardrails = AgentGuardrails()

    def secret_keys(self) -> frozenset[SecretKey]:
        """Entries of Secrets that the runtime must be able to read."""
        candidates = (*self.models, *self.limits.soft_models)
        return frozenset(key for candidate in candidates for key in candidate.secret_keys())
