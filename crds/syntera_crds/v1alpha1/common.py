"""What all kinds share: the base models, references, conditions and the markers that become `x-kubernetes-*`.

A string under a field becomes its `kubectl explain` text: meaning, unit, default, effect of leaving it out.
Defaults live in the models, not in the schema: the API server keeps an object as its author wrote it. The one exception
is `Ready: Unknown` in a new object's status.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
MAX_NAME_LENGTH = 63
"""Of a Tenant's and an Agent's name: they stand in label values and host names."""


def rule(expression: str, message: str, *, field_path: str | None = None, reason: str | None = None) -> JsonDict:
    """One CEL rule of the API server. `message` names what to do, `field_path` the field at fault, below the model."""
    made: JsonDict = {"rule": expression, "message": message}
    if field_path is not None:
        made["fieldPath"] = field_path
    if reason is not None:
        made["reason"] = reason
    return made


def rules(*cel: JsonDict) -> JsonDict:
    """Schema extras for a model that carries CEL rules."""
    return {"x-kubernetes-validations": list(cel)}


def list_map(*keys: str) -> JsonDict:
    """Schema extras for a list whose entries are told apart by `keys`; the API server refuses doubles."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


LIST_SET: JsonDict = {"x-kubernetes-list-type": "set"}
"""Schema extras for a list without doubles."""


def _to_field_name(name: str) -> str:
    """Kubernetes' spelling: camel case with initialisms in capitals (`baseURL`, not `baseUrl`)."""
    camel = to_camel(name)
    return camel[: -len("Url")] + "URL" if camel.endswith("Url") and camel != "Url" else camel


class Model(BaseModel):
    """Part of a spec: unknown fields are refused with their path."""

    model_config = ConfigDict(
        alias_generator=_to_field_name,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )


class StatusModel(Model):
    """Part of a status: fields written by another release are ignored."""

    model_config = ConfigDict(extra="ignore")


Name = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)]
"""A name that an author chooses for an entry of a list."""
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_NAME)]
DataKey = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
HttpURL = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^https?://[^\s/?#@]+([/?#]\S*)?$")]
QUANTITY = r"^([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)(([KMGTPE]i)|[mkMGTPE]|([eE][-+]?[0-9]+))?$"
Quantity = Annotated[
    int | str,
    Field(
        json_schema_extra={"x-kubernetes-int-or-string": True, "pattern": QUANTITY, "maxLength": 32},
    ),
]
"""An amount in Kubernetes' notation, not negative: `100m`, `512Mi`, `2`."""


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
    DATABASE_READY = "DatabaseReady"
    CACHE_READY = "CacheReady"
    RUNTIME_READY = "RuntimeReady"
    READY = "Ready"
    """It serves what the spec says."""
    RECONCILING = "Reconciling"
    """The operator is on its way to what the spec says. Absent trouble, it becomes False."""
    STALLED = "Stalled"
    """The operator cannot go on until somebody changes something."""


class Reason(StrEnum):
    """Why a condition is as it is; a closed list."""

    ACCEPTED = "Accepted"
    INVALID = "Invalid"
    """The spec contradicts itself or a rule that the schema cannot say."""
    NAMESPACE_RESERVED = "NamespaceReserved"
    NAMESPACE_TAKEN = "NamespaceTaken"
    """The namespace belongs to another Tenant, or to somebody who has not handed it over."""
    TENANT_NOT_FOUND = "TenantNotFound"
    """No Tenant owns the object's namespace."""
    TENANT_NOT_ACCEPTED = "TenantNotAccepted"
    RESOLVED = "Resolved"
    ENDPOINT_NOT_FOUND = "EndpointNotFound"
    SECRET_NOT_FOUND = "SecretNotFound"
    SECRET_NOT_USABLE = "SecretNotUsable"
    SECRET_KEY_NOT_FOUND = "SecretKeyNotFound"
    CONFIG_MAP_NOT_FOUND = "ConfigMapNotFound"
    CONFIG_MAP_KEY_NOT_FOUND = "ConfigMapKeyNotFound"
    TOO_LARGE = "TooLarge"
    """The compiled configuration would not fit into a ConfigMap."""
    NAME_TAKEN = "NameTaken"
    """An object that the operator needs exists already and belongs to somebody else."""
    UP_TO_DATE = "UpToDate"
    PROGRESSING = "Progressing"
    PENDING = "Pending"
    """Waits for another condition."""
    UNAVAILABLE = "Unavailable"
    """A store or the API server does not answer or refuses; it is tried again."""
    REJECTED = "Rejected"
    """The API server refused an object that the operator wants to write."""
    PODS_NOT_READY = "PodsNotReady"
    NOT_LOADED = "NotLoaded"
    """A ready pod does not serve the published revision yet."""
    SUSPENDED = "Suspended"
    SERVING = "Serving"
    DELETING = "Deleting"
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
    conditions: Annotated[list[Condition], Field(max_length=16, json_schema_extra=list_map("type"))] = []
    """State, aspect by aspect."""


class ObjectMeta(BaseModel):
    """The part of an object's metadata that Syntera reads."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)

    name: str
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
    type: Literal["string", "integer", "date"] = "string"
    wide: bool = False
    """Shown with `-o wide` only."""
    description: str = ""


@dataclass(frozen=True, slots=True)
class KindInfo:
    """How the API server serves a kind."""

    plural: str
    singular: str
    short_names: tuple[str, ...]
    scope: Literal["Cluster", "Namespaced"]
    columns: tuple[PrinterColumn, ...]
    rules: tuple[JsonDict, ...] = field(default=())
    """CEL rules on the whole object: only here may a rule read the object's name."""


def ready_column(name: str, json_field: str, *, wide: bool = False) -> PrinterColumn:
    """A column with a field of the Ready condition."""
    return PrinterColumn(name=name, json_path=f".status.conditions[?(@.type=='Ready')].{json_field}", wide=wide)


AGE_COLUMN = PrinterColumn(name="Age", json_path=".metadata.creationTimestamp", type="date")

NAME_RULE = rule(
    f"self.metadata.name.size() <= {MAX_NAME_LENGTH} && self.metadata.name.matches('{DNS_LABEL}')",
    f"the name must be at most {MAX_NAME_LENGTH} lower-case letters, digits and '-', beginning and ending with a letter or digit",
)


class Resource(BaseModel):
    """A whole object of one of our kinds."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True, use_attribute_docstrings=True
    )

    info: ClassVar[KindInfo]

    metadata: ObjectMeta

    @classmethod
    def kind(cls) -> str:
        """The kind's name, as in `kind:`."""
        return cls.__name__


JsonObject = Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]
"""Any JSON object; kept as it is."""
