"""The part of a Tenant that says how long its data is kept."""

from typing import Annotated

from pydantic import Field

from .common import Model


class Retention(Model):
    """How long the tenant's data is kept. What is older is deleted for good."""

    messages_days: Annotated[int, Field(ge=1, le=3650)] | None = None
    """Days that messages are kept, with their turns and feedback; so are conversations in which nothing was said since, and
    customers without a conversation who were not seen since, and how much each person used. Left out: for ever."""
    audit_days: Annotated[int, Field(ge=1, le=3650)] | None = None
    """Days that the record of administrative acts is kept. Left out: for ever."""
