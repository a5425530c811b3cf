"""The internal API of a tenant's runtime, which only the operator calls.

* `GET /internal/v1/config/agents/{agent}?digest=D&waitSeconds=S` answers with a `LoadedAgent` as soon as digest D is
  loaded, else after S seconds with what is loaded then; 404 when the agent is not loaded at all.

The bearer token is a ServiceAccount token of the operator whose audience is `names.internal_audience(tenant)`.
"""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

AGENT_PATH = "/internal/v1/config/agents/{agent}"
MAX_WAIT_SECONDS = 10.0
"""A longer `waitSeconds` is cut to this."""


class _Message(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


class LoadedAgent(_Message):
    """What a pod serves for one agent at this moment."""

    name: str
    revision: int
    digest: str
