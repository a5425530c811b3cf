"""The kind Tenant: one company, its namespace, its stores' identities, its model endpoints and its chat runtime."""

from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import ConfigDict, Field, model_validator

from .common import (
    AGE_COLUMN,
    DNS_LABEL,
    DNS_NAME,
    NAME_RULE,
    ConfigMapKeyRef,
    HttpURL,
    KindInfo,
    Model,
    Name,
    ObjectName,
    PrinterColumn,
    Quantity,
    Resource,
    SecretKeyRef,
    Status,
    list_map,
    ready_column,
    rule,
    rules,
)

NAMESPACE_PREFIX = "syntera-"


class DeletionPolicy(StrEnum):
    """What becomes of a tenant's data when the Tenant is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class MaxTokensParameter(StrEnum):
    """How an endpoint calls the bound on output tokens."""

    MAX_TOKENS = "max_tokens"
    MAX_COMPLETION_TOKENS = "max_completion_tokens"


class Header(Model):
    """An HTTP header that is sent with every request to a model endpoint."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("has(self.value) != has(self.secretKeyRef)", "set exactly one of value and secretKeyRef"),
        )
    )

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][-A-Za-z0-9_]*$")]
    """Name of the header."""
    value: Annotated[str, Field(max_length=2048, pattern=r"^[\t\x20-\x7e]*$")] | None = None
    """Its value, where it is no secret."""
    secret_key_ref: SecretKeyRef | None = None
    """The entry of a Secret that holds its value."""

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.value is None) == (self.secret_key_ref is None):
            raise ValueError("set exactly one of value and secretKeyRef")
        return self


class ModelEndpoint(Model):
    """A server that speaks the OpenAI protocol."""

    name: Name
    """How Agents refer to this endpoint."""
    base_url: HttpURL
    """Where the protocol begins, usually ending in `/v1`."""
    api_key_secret_ref: SecretKeyRef | None = None
    """The API key. Left out: the endpoint asks for none."""
    chat: Annotated[str, Field(min_length=1, max_length=256)]
    """Name of the chat model for Agents that name none."""
    timeout_seconds: Annotated[int, Field(ge=1, le=600)] = 60
    """How long one request may take, the whole answer included, in seconds. Default 60."""
    max_tokens_parameter: MaxTokensParameter = MaxTokensParameter.MAX_COMPLETION_TOKENS
    """How the endpoint calls the bound on output tokens. Default `max_completion_tokens`; older servers know only
    `max_tokens`."""
    headers: Annotated[list[Header], Field(max_length=16, json_schema_extra=list_map("name"))] = []
    """Further HTTP headers."""
    ca_bundle_config_map_ref: ConfigMapKeyRef | None = None
    """PEM certificates to trust for this endpoint instead of the public ones."""
    proxy_url: HttpURL | None = None
    """HTTP proxy to reach the endpoint through. Left out: straight."""


class Autoscaling(Model):
    """A HorizontalPodAutoscaler on the runtime's CPU use."""

    model_config = ConfigDict(
        json_schema_extra=rules(rule("self.min <= self.max", "min must not exceed max", field_path=".min"))
    )

    min: Annotated[int, Field(ge=1, le=100)]
    """Fewest pods."""
    max: Annotated[int, Field(ge=1, le=100)]
    """Most pods."""
    cpu_percent: Annotated[int, Field(ge=10, le=100)] = 70
    """CPU use, in percent of what is requested, that the autoscaler aims at. Default 70."""

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError("min must not exceed max")
        return self


class ResourceAmounts(Model):
    """Amounts of CPU and memory."""

    cpu: Quantity | None = None
    """CPU, for example `500m`."""
    memory: Quantity | None = None
    """Memory, for example `512Mi`."""


class Resources(Model):
    """What a runtime pod asks for and what it may use at most."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            *(
                rule(
                    f"!has(self.requests) || !has(self.requests.{name}) || !has(self.limits) || !has(self.limits.{name})"
                    f" || quantity(string(self.requests.{name})).compareTo(quantity(string(self.limits.{name}))) <= 0",
                    f"the request for {name} must not exceed its limit",
                    field_path=".requests",
                )
                for name in ("cpu", "memory")
            )
        )
    )

    requests: ResourceAmounts = ResourceAmounts()
    """What is reserved. Default 100m CPU and 192Mi memory, each at most its limit."""
    limits: ResourceAmounts = ResourceAmounts()
    """What may be used at most. Default: 512Mi memory or the request where that is more, CPU unbounded."""


class Runtime(Model):
    """The pods that serve the tenant's agents."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!(has(self.replicas) && has(self.autoscaling))",
                "set replicas or autoscaling, not both: the autoscaler owns the number of pods",
                field_path=".replicas",
            )
        )
    )

    replicas: Annotated[int, Field(ge=1, le=100)] | None = None
    """Number of pods. Default 1, unless autoscaling is set. To stop them all set `spec.suspended`."""
    autoscaling: Autoscaling | None = None
    """Let the number of pods follow the load. Left out: it is fixed."""
    resources: Resources = Resources()
    """CPU and memory of each pod."""

    @model_validator(mode="after")
    def _has_one_scale(self) -> Self:
        if self.replicas is not None and self.autoscaling is not None:
            raise ValueError("set replicas or autoscaling, not both: the autoscaler owns the number of pods")
        return self


class GatewayRef(Model):
    """A Gateway (Gateway API) that the tenant's HTTPRoute attaches to; its listeners say who may."""

    name: ObjectName
    """Name of the Gateway."""
    namespace: Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)]
    """Namespace of the Gateway."""
    section_name: Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_NAME)] | None = None
    """Name of one listener. Left out: all that match."""


class Exposure(Model):
    """How the tenant's API is reached from outside of the cluster."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.gatewayRef) || (!has(self.ingressClassName) && !has(self.tlsSecretName))",
                "gatewayRef stands alone: ingressClassName and tlsSecretName belong to an Ingress",
                field_path=".gatewayRef",
            )
        )
    )

    host: Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_NAME)]
    """Host name, for example `acme.chat.example`."""
    ingress_class_name: ObjectName | None = None
    """Class of the Ingress. Left out: the cluster's default class."""
    tls_secret_name: ObjectName | None = None
    """Secret of the tenant's namespace with the host's certificate, for the Ingress. Left out: the Ingress has no TLS
    part, and the endpoint is `http://`."""
    gateway_ref: GatewayRef | None = None
    """Attach an HTTPRoute to this Gateway instead of making an Ingress. The Gateway ends TLS; the endpoint is
    `https://`."""

    @model_validator(mode="after")
    def _has_one_kind(self) -> Self:
        if self.gateway_ref and (self.ingress_class_name or self.tls_secret_name):
            raise ValueError("gatewayRef stands alone: ingressClassName and tlsSecretName belong to an Ingress")
        return self


class TenantSpec(Model):
    """What a tenant is to be."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.namespace) == has(oldSelf.namespace)"
                " && (!has(self.namespace) || self.namespace == oldSelf.namespace)",
                "namespace cannot change once the Tenant exists; delete the Tenant with deletionPolicy Retain and make"
                " another one",
                field_path=".namespace",
                reason="FieldValueForbidden",
            ),
            rule(
                "!has(self.namespace) || (self.namespace != 'default' && !self.namespace.startsWith('kube-'))",
                "namespace must not be 'default' or begin with 'kube-'",
                field_path=".namespace",
            ),
        )
    )

    display_name: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """The company's name for people. Default: the Tenant's name. Agents write it as `{{tenant.displayName}}`."""
    namespace: Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)] | None = None
    """Namespace of the tenant; cannot change. Default `syntera-<name>`. One that exists is adopted only if its owner has
    labelled it `syntera.io/tenant: <name>`."""
    deletion_policy: DeletionPolicy = DeletionPolicy.RETAIN
    """What happens to data when the Tenant is deleted. `Retain` (default): workloads and credentials go, rows, Agents and
    namespace stay, and a Tenant of the same name finds them again. `Delete`: rows and keys are erased for good, and the
    namespace unless it was adopted."""
    suspended: bool = False
    """True: no pod runs, nothing is lost. Default false."""
    models: Annotated[list[ModelEndpoint], Field(max_length=32, json_schema_extra=list_map("name"))] = []
    """Model endpoints; the first is the default for Agents that name none."""
    runtime: Runtime = Runtime()
    """Size of the chat runtime."""
    quota: (
        Annotated[
            dict[Annotated[str, Field(min_length=1, max_length=253)], Quantity], Field(min_length=1, max_length=64)
        ]
        | None
    ) = None
    """Hard limits of a ResourceQuota for the namespace, for example `pods: 50`. Left out: no quota."""
    exposure: Exposure | None = None
    """Reach the tenant's API from outside. Left out: inside of the cluster only."""


class TenantStatus(Status):
    """What a tenant is now."""

    namespace: str | None = None
    """The tenant's namespace."""
    tenant_id: str | None = None
    """UUID that stands for the tenant in every store."""
    endpoint: str | None = None
    """Base URL of the tenant's API."""
    agents: Annotated[int, Field(ge=0)] | None = None
    """Number of Agents in the namespace."""


class Tenant(Resource):
    """A company that offers agents to its customers: its namespace, store identities, model endpoints and runtime."""

    info: ClassVar[KindInfo] = KindInfo(
        plural="tenants",
        singular="tenant",
        short_names=("tnt",),
        scope="Cluster",
        columns=(
            ready_column("Ready", "status"),
            ready_column("Status", "reason"),
            PrinterColumn(name="Namespace", json_path=".status.namespace"),
            PrinterColumn(name="Agents", json_path=".status.agents", type="integer"),
            PrinterColumn(name="Endpoint", json_path=".status.endpoint", wide=True),
            ready_column("Message", "message", wide=True),
            AGE_COLUMN,
        ),
        rules=(
            NAME_RULE,
            rule(
                f"has(self.spec.namespace) || self.metadata.name.size() <= {63 - len(NAMESPACE_PREFIX)}",
                f"a name of more than {63 - len(NAMESPACE_PREFIX)} characters needs spec.namespace, because the default"
                f" '{NAMESPACE_PREFIX}<name>' would be too long",
            ),
        ),
    )

    spec: TenantSpec
    status: TenantStatus = TenantStatus()

    @property
    def namespace(self) -> str:
        """The namespace that the tenant lives in."""
        return self.spec.namespace or NAMESPACE_PREFIX + self.metadata.name

    @property
    def display_name(self) -> str:
        """The company's name for people."""
        return self.spec.display_name or self.metadata.name
