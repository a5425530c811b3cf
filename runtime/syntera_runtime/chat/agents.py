"""Which agents there are for whom."""

from collections.abc import Sequence

from syntera_crds.contract.agent_config import AgentConfig

from ..errors import AgentNotFound, SignInNeeded
from ..models.identity import Principal
from ..ports.configuration import AgentCatalogue


def agents_for(catalogue: AgentCatalogue, principal: Principal) -> Sequence[AgentConfig]:
    """The agents that answer the principal, by name."""
    return [agent for agent in catalogue.all() if principal.may_talk_to(agent)]


def agent_to_talk_to(catalogue: AgentCatalogue, principal: Principal, name: str) -> AgentConfig:
    """The agent of that name, if it answers the principal.

    Raises:
        AgentNotFound: There is none, or not for the principal.
        SignInNeeded: The principal is an anonymous visitor, and the agent talks to none.
    """
    agent = catalogue.get(name)
    if agent is None or not principal.may_see(agent):
        raise AgentNotFound(f"There is no agent {name!r}.")
    if not principal.may_talk_to(agent):
        raise SignInNeeded
    return agent
