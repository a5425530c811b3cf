"""The kind Tenant: one company, its namespace, its stores' identities, its model endpoints and its chat runtime."""

import re
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from .auth import Auth
from .cidr import CIDR
from .common import (
    AGE_COLUMN,
    MAX_NAME_LENGTH,
    MESSAGE_COLUMN,
    READY_COLUMN,
    STATUS_COLUMN,
    ConfigMapKeyRef,
    DnsLabel,
    DnsName,
    HttpURL,
    KindInfo,
    Model,
    Name,
    ObjectName,
    PrinterColumn,
    Resource,
    SecretKeyRef,
    Status,
)
from .egress import Egress
from .embedding import EmbeddingModel, TenantStoresSpec
from .files import Files
from .limits import Limits
from .prices import Currency, ModelPrice
from .quantity import Quantity, parse_quantity
from .retention import Retention
from .rules import Rule, UniqueBy, matching

NAMESPACE_PREFIX = "syntera-"


class DeletionPolicy(StrEnum):
    """What becomes of a tenant's data when the Tenant is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class MaxTokensParameter(StrEnum):
    """How an endpoint calls the bound on output tokens."""

    MAX_TOKENS = "max_tokens"
    MAX_COMPLETION_TOKENS = "max_completion_tokens"


HeaderName = Annotated[
    str,
    Field(min_length=1, max_length=128),
    matching("^[A-Za-z0-9][-A-Za-z0-9_]*$", "must be letters, digits, '-' and '_', and begin with a letter or digit"),
]
HeaderValue = Annotated[
    str,
    Field(min_length=1, max_length=2048),
    matching("^[!-~]([ -~]*[!-~])?$", "must be printable ASCII characters without a space at either end"),
]


class Header(Model):
    """An HTTP header that is sent with every request to a model endpoint."""

    rules = (
        Rule(
            "has(self.value) != has(self.secretKeyRef)",
            "set exactly one of value and secretKeyRef",
            holds=lambda header: (header.value is None) != (header.secret_key_ref is None),
        ),
    )

    name: HeaderName
    """Name of the header."""
    value: HeaderValue | None = None
    """Its value, where it is no secret. Left out: it comes from secretKeyRef."""
    secret_key_ref: SecretKeyRef | None = None
    """The entry of a Secret that holds its value. Left out: value has it."""


class ModelEndpoint(Model):
    """A server that speaks the OpenAI protocol."""

    name: Name
    """How Agents refer to this endpoint."""
    base_url: HttpURL
    """Where the protocol begins, usually ending in `/v1`."""
    api_key_secret_ref: SecretKeyRef | None = None
    """The API key. Left out: the endpoint asks for none."""
    chat: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """Name of the chat model for Agents that name none. Left out: such Agents ask another endpoint."""
    embedding: EmbeddingModel | None = None
    """The model that makes vectors for KnowledgeBases that name none. Left out: such KnowledgeBases ask another endpoint."""
    image_models: Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(max_length=64)] = []
    """Names of the endpoint's models that take images. Left out: none; a model that is not named here is told that an
    image was sent, and cannot see it."""
    timeout_seconds: Annotated[int, Field(ge=1, le=600)] = 60
    """How long one request may take, the whole answer included, in seconds. Default 60."""
    max_tokens_parameter: Annotated[MaxTokensParameter, Field(strict=False)] = MaxTokensParameter.MAX_COMPLETION_TOKENS
    """How the endpoint calls the bound on output tokens. Default `max_completion_tokens`; older servers know only
    `max_tokens`."""
    headers: Annotated[list[Header], Field(max_length=16), UniqueBy("name")] = []
    """Further HTTP headers. Left out: none."""
    ca_bundle_config_map_ref: ConfigMapKeyRef | None = None
    """PEM certificates to trust for this endpoint instead of the public ones. Left out: those."""
    proxy_url: HttpURL | None = None
    """HTTP proxy to reach the endpoint through. Left out: straight."""
    prices: Annotated[list[ModelPrice], Field(max_length=64), UniqueBy("model")] = []
    """What its models cost. Left out, and for a model that does not stand here: nobody knows, and no cost is counted."""


class Autoscaling(Model):
    """A HorizontalPodAutoscaler on the runtime's CPU use."""

    rules = (
        Rule(
            "self.min <= self.max",
            "must not exceed max",
            holds=lambda autoscaling: autoscaling.min <= autoscaling.max,
            field=".min",
        ),
    )

    min: Annotated[int, Field(ge=1, le=100)]
    """Fewest pods."""
    max: Annotated[int, Field(ge=1, le=100)]
    """Most pods."""
    cpu_percent: Annotated[int, Field(ge=10, le=100)] = 70
    """CPU use, in percent of what is requested, that the autoscaler aims at. Default 70."""


class ResourceAmounts(Model):
    """Amounts of CPU and memory."""

    cpu: Quantity | None = None
    """CPU, for example `500m`. Left out: the default of what is reserved or allowed."""
    memory: Quantity | None = None
    """Memory, for example `512Mi`. Left out: the default of what is reserved or allowed."""


def _within_limit(name: str) -> Rule:
    request, limit = f"self.requests.{name}", f"self.limits.{name}"
    present = f"has(self.requests) && has({request}) && has(self.limits) && has({limit})"

    def holds(resources: "Resources") -> bool:
        requested, allowed = getattr(resources.requests, name), getattr(resources.limits, name)
        return requested is None or allowed is None or parse_quantity(requested) <= parse_quantity(allowed)

    return Rule(
        f"!({present}) || quantity(string({request})).compareTo(quantity(string({limit}))) <= 0",
        f"must not exceed limits.{name}",
        holds=holds,
        field=f".requests.{name}",
    )


class Resources(Model):
    """What a runtime pod asks for and what it may use at most."""

    rules = (_within_limit("cpu"), _within_limit("memory"))

    requests: ResourceAmounts = ResourceAmounts()
    """What is reserved. Default 100m CPU and 192Mi memory, each at most its limit."""
    limits: ResourceAmounts = ResourceAmounts()
    """What may be used at most. Default: 512Mi memory or the request where that is more, CPU unbounded."""


class Runtime(Model):
    """The pods that serve the tenant's agents."""

    rules = (
        Rule(
            "!(has(self.replicas) && has(self.autoscaling))",
            "cannot stand beside autoscaling, which owns the number of pods; remove one of the two",
            holds=lambda runtime: runtime.replicas is None or runtime.autoscaling is None,
            field=".replicas",
        ),
    )

    replicas: Annotated[int, Field(ge=1, le=100)] | None = None
    """Number of pods. Default 1, unless autoscaling is set. To stop them all set `spec.suspended`."""
    autoscaling: Autoscaling | None = None
    """Let the number of pods follow the load. Left out: it is fixed."""
    resources: Resources = Resources()
    """CPU and memory of each pod. Left out: the defaults below."""


class GatewayRef(Model):
    """A Gateway (Gateway API) that the tenant's HTTPRoute attaches to; its listeners say who may."""

    name: ObjectName
    """Name of the Gateway."""
    namespace: DnsLabel
    """Namespace of the Gateway."""
    section_name: DnsName | None = None
    """Name of one listener. Left out: all that match."""


class Exposure(Model):
    """How the tenant's API is reached from outside of the cluster."""

    rules = (
        Rule(
            "!has(self.gatewayRef) || (!has(self.ingressClassName) && !has(self.tlsSecretName))",
            "stands alone: ingressClassName and tlsSecretName belong to an Ingress; remove them or this",
            holds=lambda exposure: (
                not (exposure.gateway_ref and (exposure.ingress_class_name or exposure.tls_secret_name))
            ),
            field=".gatewayRef",
        ),
    )

    host: DnsName
    """Host name, for example `acme.chat.example`."""
    ingress_class_name: ObjectName | None = None
    """Class of the Ingress. Left out: the cluster's default class."""
    tls_secret_name: ObjectName | None = None
    """Secret of the tenant's namespace with the host's certificate, for the Ingress. Left out: the Ingress has no TLS
    part, and the endpoint is `http://`."""
    gateway_ref: GatewayRef | None = None
    """Attach an HTTPRoute to this Gateway, which ends TLS: the endpoint is `https://`. Left out: an Ingress is made."""
    trusted_proxies: Annotated[list[CIDR], Field(max_length=32)] = []
    """Addresses of the proxies in front of the API, whose `X-Forwarded-For` is believed: a request comes from the last
    address there that is no proxy's. Whoever connects from one of these addresses is believed: name the proxies' own, not
    the whole cluster's. Left out: a request comes from whoever opened the connection, whatever the header says."""


_QUOTA_KEY = "^[a-zA-Z0-9]([-._/a-zA-Z0-9]*[a-zA-Z0-9])?$"
_QUOTA_KEYS = Rule(
    f"self.all(key, key.size() <= 253 && key.matches(r'{_QUOTA_KEY}'))",
    "each key must be the name of a resource, such as pods or requests.cpu",
    holds=lambda quota: all(len(key) <= 253 and re.fullmatch(_QUOTA_KEY, key) for key in quota),
)


class TenantSpec(Model):
    """What a tenant is to be."""

    rules = (
        Rule(
            "has(self.__namespace__) == has(oldSelf.__namespace__)"
            " && (!has(self.__namespace__) || self.__namespace__ == oldSelf.__namespace__)",
            "cannot change once the Tenant exists; delete the Tenant with deletionPolicy Retain and make another one",
            holds=None,
            field=".namespace",
            reason="FieldValueForbidden",
        ),
        Rule(
            "has(self.currency) || !has(self.models) || self.models.all(m, !has(m.prices) || m.prices.size() == 0)",
            "is needed where a model has prices; say which currency they are in, for example EUR",
            holds=lambda spec: spec.currency is not None or not any(endpoint.prices for endpoint in spec.models),
            field=".currency",
        ),
    )

    display_name: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """The company's name for people. Default: the Tenant's name. Agents write it as `{{tenant.displayName}}`."""
    namespace: (
        Annotated[
            DnsLabel,
            Rule(
                "self != 'default' && !self.startsWith('kube-')",
                "must not be 'default' or begin with 'kube-'; choose a namespace of the tenant's own",
                holds=lambda name: name != "default" and not name.startswith("kube-"),
            ),
        ]
        | None
    ) = None
    """Namespace of the tenant; cannot change. Default `syntera-<name>`. One that exists is adopted only if its owner has
    labelled it `syntera.io/tenant: <name>`."""
    deletion_policy: Annotated[DeletionPolicy, Field(strict=False)] = DeletionPolicy.RETAIN
    """What happens to data when the Tenant is deleted. `Retain` (default): workloads and credentials go, rows, Agents and
    namespace stay, and a Tenant of the same name finds them again. `Delete`: rows and keys are erased for good, and the
    namespace unless it was adopted."""
    suspended: bool = False
    """True: no pod runs, nothing is lost. Default false."""
    models: Annotated[list[ModelEndpoint], Field(max_length=32), UniqueBy("name")] = []
    """Model endpoints. Agents that name none ask the first that has a chat model, KnowledgeBases the first that has an
    embedding model. Left out: no Agent of the tenant can answer."""
    currency: Currency | None = None
    """Currency of all prices in `models` (ISO 4217), for example `EUR`. Left out: there can be no prices."""
    auth: Auth = Auth()
    """Whom the tenant's API believes, and which websites may call it. Left out: nobody but the holders of API keys, and
    no website."""
    limits: Limits = Limits()
    """How much the tenant's API takes, and how many tokens may be used. Left out: as much as its pods can do."""
    files: Files = Files()
    """Files that people send with their messages. Left out: at most 10 MiB each, kept in PostgreSQL."""
    stores: TenantStoresSpec = TenantStoresSpec()
    """Where the tenant's data is, beside PostgreSQL and Redis. Left out: nowhere else."""
    egress: Egress = Egress()
    """What webhooks and the sources of KnowledgeBases may reach beside public hosts. Left out: nothing."""
    retention: Retention = Retention()
    """How long the tenant's data is kept, suspended or not. What is older is deleted within some hours, for good: a longer
    period brings nothing back. Left out: for ever."""
    runtime: Runtime = Runtime()
    """Size of the chat runtime. Left out: one pod with the default resources."""
    quota: Annotated[dict[str, Quantity], Field(min_length=1, max_length=64), _QUOTA_KEYS] | None = None
    """Hard limits of a ResourceQuota for the namespace, for example `pods: 50`. Left out: no quota."""
    exposure: Exposure | None = None
    """Reach the tenant's API from outside. Left out: inside of the cluster only."""


class TenantStatus(Status):
    """What a tenant is now."""

    namespace: Annotated[str, Field(max_length=63)] | None = None
    """The tenant's namespace."""
    tenant_id: Annotated[str, Field(max_length=36)] | None = None
    """UUID that stands for the tenant in every store."""
    endpoint: Annotated[str, Field(max_length=1024)] | None = None
    """Base URL of the tenant's API."""
    agents: Annotated[int, Field(ge=0)] | None = None
    """Number of Agents in the namespace."""
    knowledge_bases: Annotated[int, Field(ge=0)] | None = None
    """Number of KnowledgeBases in the namespace."""


_LONGEST_NAME = MAX_NAME_LENGTH - len(NAMESPACE_PREFIX)


class Tenant(Resource):
    """A company that offers agents to its customers: its namespace, store identities, model endpoints and runtime."""

    info: ClassVar[KindInfo] = KindInfo(
        plural="tenants",
        singular="tenant",
        short_names=("tnt",),
        scope="Cluster",
        columns=(
            READY_COLUMN,
            STATUS_COLUMN,
            PrinterColumn("Namespace", ".status.namespace", "Where its agents live"),
            PrinterColumn("Agents", ".status.agents", "How many agents it has", type="integer"),
            PrinterColumn(
                "Knowledge", ".status.knowledgeBases", "How many knowledge bases it has", type="integer", wide=True
            ),
            PrinterColumn("Endpoint", ".status.endpoint", "Base URL of its API", wide=True),
            MESSAGE_COLUMN,
            AGE_COLUMN,
        ),
    )
    rules = (
        Rule(
            f"has(self.spec.__namespace__) || self.metadata.name.size() <= {_LONGEST_NAME}",
            f"is needed where the Tenant's name has more than {_LONGEST_NAME} characters, because the default"
            f" '{NAMESPACE_PREFIX}<name>' would be too long",
            holds=lambda tenant: tenant.spec.namespace is not None or len(tenant.metadata.name) <= _LONGEST_NAME,
            field=".spec.namespace",
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
