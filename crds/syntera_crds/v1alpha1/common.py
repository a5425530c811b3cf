"""What all kinds share: the base models, references, conditions and how the API server serves a kind.

A string under a field becomes its `kubectl explain` text: meaning, unit, default, effect of leaving it out.
Defaults live in the models, not in the schema: the API server keeps an object as its author wrote it. The one exception
is `Ready: Unknown` in a new object's status.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from .rules import VALIDATIONS, Rule, UniqueBy, matching

MAX_NAME_LENGTH = 63
"""Of the name of a Tenant, an Agent or a KnowledgeBase: they stand in label values and host names."""

LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_INITIALISMS = {"Url": "URL", "Id": "ID"}


def to_field_name(name: str) -> str:
    """Kubernetes' spelling: camel case with initialisms in capitals (`baseURL`, not `baseUrl`)."""
    camel = to_camel(name)
    for written, wanted in _INITIALISMS.items():
        if camel.endswith(written):
            return camel.removesuffix(written) + wanted
    return camel


class Ruled(BaseModel):
    """A model with rules."""

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _keeps_rules(self) -> Self:
        for rule in self.rules:
            rule.check(self)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the rules to the model's schema."""
        made = handler.resolve_ref_schema(handler(schema))
        if cls.rules:
            made[VALIDATIONS] = [rule.to_cel() for rule in cls.rules]
        return made


class Model(Ruled):
    """Part of a spec: unknown fields and values of another type are refused with their path, as the API server does."""

    model_config = ConfigDict(
        alias_generator=to_field_name,
        populate_by_name=True,
        extra="forbid",
        strict=True,
        frozen=True,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )


class StatusModel(Model):
    """Part of a status: fields written by another release are ignored."""

    model_config = ConfigDict(extra="ignore", strict=False)


DnsLabel = Annotated[
    str,
    Field(min_length=1, max_length=MAX_NAME_LENGTH),
    matching(f"^{LABEL}$", "must be lower-case letters, digits and '-', and begin and end with a letter or digit"),
]
DnsName = Annotated[
    str,
    Field(min_length=1, max_length=253),
    matching(
        rf"^{LABEL}(\.{LABEL})*$",
        "must be lower-case letters, digits, '-' and '.', and each part begin and end with a letter or digit",
    ),
]
Name = DnsLabel
"""A name that an author chooses for an entry of a list."""
ObjectName = DnsName
"""The name of another object."""
DataKey = Annotated[
    str,
    Field(min_length=1, max_length=253),
    matching(r"^[-._a-zA-Z0-9]+$", "must be letters, digits, '-', '_' and '.'"),
]
HOST_LABEL = "[a-zA-Z0-9]([-_a-zA-Z0-9]*[a-zA-Z0-9])?"
PORT = "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
PATH = "[-._~%!$&()*+,;=:@/a-zA-Z0-9]*"
HttpURL = Annotated[
    str,
    Field(min_length=1, max_length=1024),
    matching(
        rf"^https?://{HOST_LABEL}(\.{HOST_LABEL})*(:({PORT}))?(/{PATH})?$",
        "must be a URL such as https://models.example/v1: http or https, a host, and at most a port and a path",
    ),
]


class SecretKeyRef(Model):
    """One entry of a Secret in the tenant's namespace that carries the label `syntera.io/usable: "true"`."""

    name: ObjectName
    """Name of the Secret."""
    key: DataKey
    """The entry's key."""


class ConfigMapKeyRef(Model):
    """One entry of a ConfigMap in the tenant's namespace."""

    name: ObjectName
    """Name of the ConfigMap."""
    key: DataKey
    """The entry's key."""


class ConditionStatus(StrEnum):
    """Kubernetes' three values."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class ConditionType(StrEnum):
    """All conditions of all kinds."""

    ACCEPTED = "Accepted"
    """The spec is sound."""
    RESOLVED_REFS = "ResolvedRefs"
    """Everything that the spec names exists and may be used."""
    NAMESPACE_READY = "NamespaceReady"
    """The tenant's namespace exists, is the tenant's own and holds what the operator keeps in it."""
    DATABASE_READY = "DatabaseReady"
    """The tenant's PostgreSQL login works."""
    CACHE_READY = "CacheReady"
    """The tenant's Redis user works."""
    RUNTIME_READY = "RuntimeReady"
    """As many runtime pods as wanted are ready."""
    SYNCED = "Synced"
    """The knowledge base holds what its sources say."""
    READY = "Ready"
    """It serves what the spec says."""
    RECONCILING = "Reconciling"
    """The operator is on its way to what the spec says; False once it is there."""
    STALLED = "Stalled"
    """The operator cannot go on until somebody changes something."""


class Reason(StrEnum):
    """Why a condition is as it is; a closed list."""

    ACCEPTED = "Accepted"
    """The spec is sound."""
    INVALID = "Invalid"
    """The spec contradicts itself or a rule that the schema cannot say."""
    NAMESPACE_RESERVED = "NamespaceReserved"
    """The namespace belongs to Kubernetes or to the operator."""
    NAMESPACE_TAKEN = "NamespaceTaken"
    """The namespace belongs to another Tenant, or to somebody who has not handed it over."""
    TENANT_NOT_FOUND = "TenantNotFound"
    """No Tenant owns the object's namespace."""
    TENANT_NOT_ACCEPTED = "TenantNotAccepted"
    """The Tenant of the namespace is not accepted itself."""
    RESOLVED = "Resolved"
    """Everything that the spec names was found."""
    ENDPOINT_NOT_FOUND = "EndpointNotFound"
    """The Tenant has no model endpoint of that name."""
    MODEL_NOT_FOUND = "ModelNotFound"
    """Neither the spec nor the Tenant's model endpoint names a model for what is wanted."""
    KNOWLEDGE_BASE_NOT_FOUND = "KnowledgeBaseNotFound"
    """The namespace has no KnowledgeBase of that name."""
    KNOWLEDGE_BASE_NOT_PUBLISHED = "KnowledgeBaseNotPublished"
    """The KnowledgeBase is not accepted, or something that it names is missing, and it never was complete before."""
    HOST_NOT_ALLOWED = "HostNotAllowed"
    """A host is not public, and the Tenant's `spec.egress` does not name it."""
    SECRET_NOT_FOUND = "SecretNotFound"
    """The namespace has no Secret of that name."""
    SECRET_NOT_USABLE = "SecretNotUsable"
    """The Secret's owner has not allowed its use with the label `syntera.io/usable: "true"`."""
    SECRET_KEY_NOT_FOUND = "SecretKeyNotFound"
    """The Secret has no entry of that key."""
    CONFIG_MAP_NOT_FOUND = "ConfigMapNotFound"
    """The namespace has no ConfigMap of that name."""
    CONFIG_MAP_KEY_NOT_FOUND = "ConfigMapKeyNotFound"
    """The ConfigMap has no text entry of that key."""
    TOO_LARGE = "TooLarge"
    """The compiled configuration would not fit into a ConfigMap."""
    NAME_TAKEN = "NameTaken"
    """An object that the operator needs exists already and belongs to somebody else."""
    UP_TO_DATE = "UpToDate"
    """Everything is as the spec says."""
    PROGRESSING = "Progressing"
    """The operator is at work on it."""
    PENDING = "Pending"
    """Waits for another condition."""
    UNAVAILABLE = "Unavailable"
    """A store or the API server does not answer or refuses; it is tried again."""
    REJECTED = "Rejected"
    """The API server refused an object that the operator wants to write."""
    PODS_NOT_READY = "PodsNotReady"
    """Fewer runtime pods are ready than wanted."""
    NOT_LOADED = "NotLoaded"
    """A ready pod does not serve the published revision yet."""
    SUSPENDED = "Suspended"
    """`spec.suspended` of the Tenant is true."""
    LIMIT_REACHED = "LimitReached"
    """The tenant has as many of these as there can be."""
    SYNCING = "Syncing"
    """A sync is under way."""
    SYNC_FAILED = "SyncFailed"
    """The last sync failed as a whole."""
    SYNCED = "Synced"
    """The last sync went through all sources."""
    EMPTY = "Empty"
    """There is no index yet that could be searched."""
    SERVING = "Serving"
    """It serves what the spec says."""
    DELETING = "Deleting"
    """The object is being deleted."""
    NOT_OBSERVED = "NotObserved"
    """The operator has not looked at the object yet."""


class Condition(StatusModel):
    """One aspect of the object's state, as `metav1.Condition`."""

    type: Annotated[str, Field(max_length=316)]
    """What this condition is about."""
    status: ConditionStatus
    """True, False or Unknown."""
    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The generation of the spec that this condition speaks of."""
    last_transition_time: datetime
    """When `status` last changed."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """Why, as one word from a closed list."""
    message: Annotated[str, Field(max_length=32768)]
    """Why, as a sentence that says what to do."""


class Status(StatusModel):
    """What every status holds."""

    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The generation of the spec that this status speaks of."""
    conditions: Annotated[list[Condition], Field(max_length=16), UniqueBy("type")] = []
    """State, aspect by aspect."""


class ObjectMeta(BaseModel):
    """The part of an object's metadata that Syntera reads."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)

    name: DnsLabel
    namespace: str | None = None
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: list[str] = []
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None


@dataclass(frozen=True, slots=True)
class PrinterColumn:
    """A column of `kubectl get`."""

    name: str
    json_path: str
    description: str
    type: Literal["string", "integer", "date"] = "string"
    wide: bool = False
    """Shown with `-o wide` only."""


@dataclass(frozen=True, slots=True)
class KindInfo:
    """How the API server serves a kind."""

    plural: str
    singular: str
    short_names: tuple[str, ...]
    scope: Literal["Cluster", "Namespaced"]
    columns: tuple[PrinterColumn, ...]


READY_COLUMN = PrinterColumn(
    "Ready", ".status.conditions[?(@.type=='Ready')].status", "Whether it serves what the spec says"
)
STATUS_COLUMN = PrinterColumn("Status", ".status.conditions[?(@.type=='Ready')].reason", "Why, in a word")
MESSAGE_COLUMN = PrinterColumn(
    "Message", ".status.conditions[?(@.type=='Ready')].message", "Why, as a sentence that says what to do", wide=True
)
AGE_COLUMN = PrinterColumn("Age", ".metadata.creationTimestamp", "Time since it was made", type="date")


class Resource(Ruled):
    """A whole object of one of our kinds. Its rules, and no others, may read the object's name."""

    model_config = ConfigDict(
        alias_generator=to_field_name, populate_by_name=True, extra="ignore", frozen=True, use_attribute_docstrings=True
    )

    info: ClassVar[KindInfo]

    metadata: ObjectMeta

    @classmethod
    def kind(cls) -> str:
        """The kind's name, as in `kind:`."""
        return cls.__name__
