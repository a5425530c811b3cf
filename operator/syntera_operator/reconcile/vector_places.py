"""Says where vectors are that are in Pinecone, for messages that people act on. Pure."""

from collections.abc import Sequence

from ..stores.knowledge_summary import VectorPlace

_MOST_NAMED = 2
"""A message has room for a thousand characters."""
_MAX_HOST_LENGTH = 100
"""Pinecone's hosts are shorter; whoever has the tenant's login may write longer ones."""


def describe_places(places: Sequence[VectorPlace]) -> str:
    """The namespaces, each with its host: `<namespace> at https://...`."""
    named = ", ".join(f"{place.namespace} at {place.host[:_MAX_HOST_LENGTH]}" for place in places[:_MOST_NAMED])
    more = len(places) - _MOST_NAMED
    return named if more <= 0 else f"{named}, and {more} more that begin with the tenant's id"


def describe_left(places: Sequence[VectorPlace]) -> str:
    """That vectors stay which nobody can erase any more, and what to do."""
    return f"Vectors are left in Pinecone, and nobody looks after them any more. Delete the namespaces there: {describe_places(places)}."
