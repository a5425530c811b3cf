"""How much may be asked for at once and used in all: the parts of a Tenant and of an Agent that say so."""

from typing import Annotated

from pydantic import Field

from .common import Model, Name

PerMinute = Annotated[int, Field(ge=1, le=1_000_000)]
Tokens = Annotated[int, Field(ge=1, le=1_000_000_000_000)]


class Limits(Model):
    """How much the tenant's API takes, and how many tokens may be used. Whoever asks for too much at once is refused for a
    while, with `rate-limited`; where tokens are used up, agents say so instead of asking their models."""

    requests_per_minute: PerMinute | None = None
    """Requests of everybody together. Left out: no limit."""
    requests_per_minute_per_key: PerMinute | None = None
    """Requests with one API key; those of all visitors that came with a publishable key count as that key's. Left out: no
    limit."""
    requests_per_minute_per_address: PerMinute | None = None
    """Requests from one address; with IPv6, from one network of 64 bits. Behind an Ingress or a Gateway every request
    comes from the proxy's address, unless `exposure.trustedProxies` names it. Left out: no limit."""
    messages_per_minute_per_user: PerMinute | None = None
    """Messages of one person, chat completions included. An anonymous visitor can come back as another one: limit addresses
    too. What a server of yours asks for with a secret key is no person's and does not count here. Left out: no limit."""
    concurrent_streams: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Answers and events that are streamed at the same time, to everybody together. Left out: no limit."""
    concurrent_streams_per_user: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """The same of one person, so that nobody takes up all of concurrentStreams. Each tab of a website takes one or two. An
    anonymous visitor can come back as another one. What a server of yours asks for with a secret key is no person's and does not
    count here. Left out: no limit."""
    tokens_per_month: Tokens | None = None
    """Tokens that all agents may use in a month (UTC), questions and answers together. Left out: no limit."""
    tokens_per_user_per_day: Tokens | None = None
    """Tokens that one person may use in a day (UTC). What a server of yours asks for with a secret key is no person's and does
    not count here. Left out: no limit."""
    soft_limit_percent: Annotated[int, Field(ge=1, le=100)] = 80
    """From this part of a limit on tokens or turns on, in percent, agents do what their `limits.overSoftLimit` says; 100: never.
    Default 80."""


class OverSoftLimitModel(Model):
    """The model that answers where a limit is nearly reached."""

    endpoint: Name
    """Name of one of the Tenant's model endpoints."""
    name: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """Name of the model. Default: the endpoint's chat model."""


class OverSoftLimit(Model):
    """What an agent does differently where a limit is nearly reached."""

    model: OverSoftLimitModel | None = None
    """A cheaper model, asked in place of `spec.model` and its fallbacks, with the same sampling settings but not with their
    `parameters`. Left out: the same models."""
    history_messages: Annotated[int, Field(ge=1, le=500)] | None = None
    """How many of the newest messages the model then sees, the new one included. Left out: as many as before."""


class AgentLimits(Model):
    """How much may be used of an agent, and what happens then."""

    tokens_per_conversation: Tokens | None = None
    """Tokens that one conversation may use, questions and answers together. Left out: no limit."""
    turns_per_conversation: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Replies of the agent in one conversation. Left out: no limit."""
    over_soft_limit: OverSoftLimit = OverSoftLimit()
    """What is different from `softLimitPercent` of any limit on, the Tenant's included. Left out: nothing."""
    message: Annotated[str, Field(min_length=1, max_length=2048)] | None = None
    """What the agent says where a limit is reached, in place of asking its model; may use the same expressions as
    `instructions`. Left out: a sentence in English that says whether to come back later or to begin another
    conversation."""
