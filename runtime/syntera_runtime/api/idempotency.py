"""`Idempotency-Key`: a request that is sent again, because nobody knows whether it arrived, makes nothing twice."""

import hashlib
from typing import Annotated

from fastapi import Depends, Header

from ..models.identity import Principal
from ..models.ids import RequestKey
from .auth import Asker

HEADER = "Idempotency-Key"
REPLAYED = {"Idempotency-Replayed": "true"}
"""On an answer that tells of what an earlier request made."""


async def _request_key(
    asker: Asker,
    key: Annotated[str | None, Header(alias=HEADER, min_length=1, max_length=255, pattern=r"^[!-~]+$")] = None,
) -> RequestKey | None:
    """The key is the caller's own: another principal's equal one stands for another request."""
    return None if key is None else build_request_key(asker, key)


def build_request_key(principal: Principal, key: str) -> RequestKey:
    """What stands for the request that a principal calls `key`."""
    return RequestKey(hashlib.sha256(f"{principal.subject}\n{key}".encode()).digest())


WantedOnce = Annotated[RequestKey | None, Depends(_request_key)]
"""A parameter of a path operation that takes `Idempotency-Key`; None: the request has none."""
