"""The operator's settings, from environment variables `SYNTERA_<NAME>`.

Read once, at start. An unknown `SYNTERA_` variable is an error: it is a typo.
"""

import os
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_PREFIX = "SYNTERA_"

OpenTelemetryVariable = Annotated[str | None, BeforeValidator(lambda value: value or None)]
"""One of OpenTelemetry's own variables; an empty one counts as unset, as OpenTelemetry says."""


class Peer(BaseModel):
    """Pods on the other side of a network policy: those with all of `pod_labels` in namespaces with all of
    `namespace_labels`; empty labels mean all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    namespace_labels: dict[str, str] = {}
    pod_labels: dict[str, str] = {}


class NetworkSettings(BaseModel):
    """Who a tenant's pods may talk to beside the API server, their model endpoints and their issuers' keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dns: list[Peer] = [
        Peer(namespace_labels={"kubernetes.io/metadata.name": "kube-system"}, pod_labels={"k8s-app": "kube-dns"})
    ]
    """The cluster's DNS servers."""
    stores: list[Peer] = [Peer(namespace_labels={"kubernetes.io/metadata.name": "syntera-stores"})]
    """PostgreSQL and Redis inside the cluster."""
    store_cidrs: list[str] = []
    """PostgreSQL and Redis outside the cluster, as address blocks."""
    model_cidrs: list[str] = []
    """Private address blocks in which model endpoints, proxies to them, or the keys of issuers may be found by host name."""
    operator: list[Peer] = []
    """The operator's pods, which ask runtimes over the internal port. Empty: all pods of the operator's namespace that
    carry its name label."""
    ingress: list[Peer] = [Peer(namespace_labels={"kubernetes.io/metadata.name": "ingress-nginx"})]
    """Ingress or gateway controllers, which reach the public port where a tenant is exposed."""
    prometheus: list[Peer] = [Peer(namespace_labels={"kubernetes.io/metadata.name": "monitoring"})]
    """Prometheus servers, which read metrics from the internal port."""
    collectors: list[Peer] = [Peer(namespace_labels={"kubernetes.io/metadata.name": "monitoring"})]
    """OpenTelemetry collectors, which take traces on the port of `otlp_endpoint` where there is one."""
    clients: list[Peer] = []
    """Further pods of the cluster that may use tenants' public ports."""


class Settings(BaseSettings):
    """Everything that an installation can set."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="forbid", frozen=True, populate_by_name=True)

    operator_namespace: str
    """Namespace that the operator runs in."""
    service_account: str = "syntera-operator"
    """Name of the operator's ServiceAccount."""
    pod_name: str = "operator"
    """Name of this pod, part of the Lease holder's identity."""

    runtime_image: str
    """Image of the tenants' runtimes."""
    ingestion_image: str
    """Image of the Jobs that fill the tenants' knowledge bases."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: list[str] = []
    """Names of image pull Secrets in the tenants' namespaces."""
    tenant_cluster_role: str
    """ClusterRole that the operator binds itself to in each tenant's namespace."""

    postgresql_url: str
    """DSN of the operator's own login. A password in it is overruled by `postgresql_password_file`."""
    postgresql_password_file: Path | None = None
    """Read anew for each connection, so that a rotated password takes effect."""
    tenant_postgresql_url: str | None = None
    """Where tenants reach PostgreSQL, without login, if not where the operator does."""
    tenant_connection_limit: Annotated[int, Field(ge=1)] = 20
    """Connections that one tenant may hold open to PostgreSQL."""
    redis_url: str
    """URL of the operator's own Redis user. A password in it is overruled by `redis_password_file`."""
    redis_password_file: Path | None = None
    tenant_redis_url: str | None = None
    """Where tenants reach Redis, without user, if not where the operator does."""
    migrate_on_start: bool = True
    """Whether the leader brings the database schema up to date."""

    workers: Annotated[int, Field(ge=1, le=256)] = 16
    """Objects that are reconciled at once."""
    reconcile_timeout_seconds: Annotated[float, Field(gt=0)] = 120
    """How long one reconcile may take before it is given up and tried again."""
    resync_seconds: Annotated[float, Field(ge=10)] = 600
    """How often every object is looked at although nothing happened."""

    lease_seconds: Annotated[float, Field(ge=3)] = 15
    """A leader that has not renewed its Lease for this long is replaced."""
    lease_renew_seconds: Annotated[float, Field(gt=0)] = 10
    """A leader that could not renew for this long writes nothing more and ends."""
    lease_retry_seconds: Annotated[float, Field(gt=0)] = 2
    """How often the leader renews; a standby looks twice as often."""

    network: NetworkSettings = NetworkSettings()

    otlp_endpoint: Annotated[OpenTelemetryVariable, Field(validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")] = None
    """Where traces go, as OTLP over HTTP; None: there are none. It holds for the operator and for the runtimes."""
    trace_sampler: Annotated[OpenTelemetryVariable, Field(validation_alias="OTEL_TRACES_SAMPLER")] = None
    """Which traces are recorded; None: all."""
    trace_sampler_argument: Annotated[OpenTelemetryVariable, Field(validation_alias="OTEL_TRACES_SAMPLER_ARG")] = None
    """What the sampler needs to know, such as a ratio."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 9090
    """Prometheus metrics."""
    probe_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """`/healthz` and `/readyz`."""

    @field_validator("otlp_endpoint")
    @classmethod
    def _endpoint_is_an_address_for_everybody(cls, value: str | None) -> str | None:
        parts = urlsplit(value or "http://none")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise ValueError(
                "otlp_endpoint must be an http or https URL without credentials: tenants' pods are told it"
            )
        return value

    @model_validator(mode="after")
    def _lease_times_are_ordered(self) -> Self:
        if not self.lease_retry_seconds < self.lease_renew_seconds < self.lease_seconds:
            raise ValueError("lease_retry_seconds < lease_renew_seconds < lease_seconds must hold")
        return self

    @property
    def operator_subject(self) -> str:
        """The operator as token issuers name it."""
        return f"system:serviceaccount:{self.operator_namespace}:{self.service_account}"

    @property
    def runtime_tracing(self) -> dict[str, str]:
        """OpenTelemetry's variables for runtimes; none that could hold a credential."""
        if self.otlp_endpoint is None:
            return {}
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.otlp_endpoint,
            "OTEL_TRACES_SAMPLER": self.trace_sampler,
            "OTEL_TRACES_SAMPLER_ARG": self.trace_sampler_argument,
        }
        return {name: value for name, value in variables.items() if value is not None}

    @property
    def collector_port(self) -> int | None:
        """The port at which traces are taken, None where there are none."""
        if self.otlp_endpoint is None:
            return None
        parts = urlsplit(self.otlp_endpoint)
        return parts.port or (443 if parts.scheme == "https" else 80)


def load_settings() -> Settings:
    """The settings of this process.

    Raises:
        ValueError: a setting is missing, malformed or unknown.
    """
    known = {_PREFIX + field.upper() for field in Settings.model_fields}
    unknown = sorted(name for name in os.environ if name.startswith(_PREFIX) and name not in known)
    if unknown:
        raise ValueError(f"unknown settings: {', '.join(unknown)}")
    return Settings()
