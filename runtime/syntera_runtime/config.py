"""The settings of the process, from environment variables that begin with `SYNTERA_`.

Read once, at the start. What an administrator changes while the process runs (agents, Secrets, passwords) is no setting.
"""

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from uuid import UUID

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from syntera_crds.contract import names

from .errors import ConfigurationError
from .models.ids import TenantId

PREFIX = "SYNTERA_"


class EnvironmentSettings(BaseSettings):
    """Base of the settings of a process: from arguments and the environment only."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, use_attribute_docstrings=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # the signature is pydantic-settings'
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments and the environment only."""
        return (init_settings, env_settings)


_S = TypeVar("_S", bound=EnvironmentSettings)


class Settings(EnvironmentSettings):
    """What a runtime process is told by its Deployment."""

    tenant: str
    """Name of the Tenant."""
    tenant_id: UUID
    """The tenant's UUID in the stores."""
    namespace: str
    """The tenant's namespace; agents and Secrets are watched here."""
    pod_name: str = "runtime"
    """Name of the pod, for logs."""
    stores_dir: Path = Path(names.STORES_DIR)
    """Where the Secret of the stores is mounted; its files are read again for every new connection."""
    signing_dir: Path = Path(names.SIGNING_DIR)
    """Where the Secret of the signing key is mounted; its file is read again every few seconds."""

    internal_audience: str
    """Audience that the operator's tokens must carry."""
    operator_subject: str
    """Subject that the operator's tokens must carry: `system:serviceaccount:<namespace>:<name>`."""

    host: str = "0.0.0.0"  # noqa: S104  # a pod's address is its only one; NetworkPolicies say who reaches it
    """Address to listen on."""
    public_port: Annotated[int, Field(ge=0, le=65535)] = names.PUBLIC_PORT
    """Port of the public API."""
    internal_port: Annotated[int, Field(ge=0, le=65535)] = names.INTERNAL_PORT
    """Port of the internal API, the probes and the metrics."""

    drain_seconds: Annotated[float, Field(ge=0, le=300)] = 5
    """How long requests are still accepted after SIGTERM, while the pod is taken out of the Service."""
    finish_seconds: Annotated[float, Field(ge=0, le=3600)] = 30
    """How long running answers may then go on. The pod's grace period must be longer than both together, by some
    10 seconds."""

    max_body_bytes: Annotated[int, Field(ge=1024, le=64 * 1024 * 1024)] = 1024 * 1024
    """Largest body of a request."""
    body_seconds: Annotated[float, Field(gt=0, le=300)] = 15
    """How long a client may take to send a body."""
    turn_seconds: Annotated[float, Field(gt=0, le=3600)] = 600
    """How long an answer may take, fallbacks included."""
    lease_seconds: Annotated[float, Field(ge=3, le=300)] = 15
    """How long a turn stays with a process that does not give a sign of life. It gives one three times as often; with 15
    seconds, a turn whose process died is ended within 30."""
    ping_seconds: Annotated[float, Field(gt=0, le=60)] = 10
    """How long a stream may be silent before a comment is sent to keep the connection."""

    postgresql_connections: Annotated[int, Field(ge=1, le=100)] = 8
    """Most connections to PostgreSQL; idle ones are closed."""
    postgresql_seconds: Annotated[float, Field(gt=0, le=60)] = 5
    """How long connecting, waiting for a free connection, and one statement may take each."""

    redis_connections: Annotated[int, Field(ge=1, le=100)] = 4
    """Most connections to Redis, beside the one that waits for events; idle ones stay open."""
    redis_seconds: Annotated[float, Field(gt=0, le=60)] = 2
    """How long connecting, waiting for a free connection, and one use may take each. Short, because nothing that a user
    waits for fails without Redis."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least level that is logged."""

    @property
    def owner(self) -> TenantId:
        """The tenant that this process serves, and the only one."""
        return TenantId(self.tenant_id)


def load_settings() -> Settings:
    """The settings of this process, from its environment.

    Raises:
        ConfigurationError: A variable is missing, unknown or not valid; the message names each.
    """
    return read_settings(Settings)


def read_settings(kind: type[_S]) -> _S:
    """Settings of a kind, from the environment.

    Raises:
        ConfigurationError: A variable is missing, unknown or not valid; the message names each.
    """
    given = {name.upper().removeprefix(PREFIX): name for name in os.environ if name.upper().startswith(PREFIX)}
    known = {name.upper() for name in kind.model_fields}
    problems = [_describe_unknown(given[name], name, known) for name in sorted(given.keys() - known)]
    try:
        settings = kind()
    except ValidationError as error:
        problems += [_describe_fault(fault["loc"][0], fault["msg"]) for fault in error.errors()]
    if problems:
        raise ConfigurationError("; ".join(problems)) from None
    return settings


def _describe_unknown(variable: str, name: str, known: set[str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"{variable} is no setting" + (f", perhaps {PREFIX}{close[0]}" if close else "")


def _describe_fault(field: int | str, message: str) -> str:
    return f"{PREFIX}{str(field).upper()}: {message}"
