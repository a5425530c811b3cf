"""Fetches key sets of issuers over HTTP: one short request each, to the address that the Tenant names and no other."""

import asyncio
import ssl

from httpx2 import AsyncClient, HTTPError, InvalidURL

from ..errors import IssuerUnavailable
from .public_trust import public_trust

FETCH_SECONDS = 5.0
MAX_BYTES = 128 * 1024
"""Key sets have a few kilobytes."""


class HttpKeySets:
    """`KeySets` over HTTP. Nothing of the process's environment is used: no proxy, no password file."""

    async def fetch(self, url: str, *, ca_bundle: str | None) -> bytes:
        """See `KeySets`."""
        try:
            async with (
                asyncio.timeout(FETCH_SECONDS),
                AsyncClient(verify=_trust(ca_bundle), follow_redirects=False, trust_env=False, timeout=None) as client,
                client.stream("GET", url, headers={"Accept": "application/jwk-set+json, application/json"}) as answer,
            ):
                if answer.status_code != 200:
                    raise IssuerUnavailable(f"The issuer answered HTTP {answer.status_code} for its keys.")
                text = bytearray()
                async for chunk in answer.aiter_bytes():
                    text += chunk
                    if len(text) > MAX_BYTES:
                        raise IssuerUnavailable("The issuer's key set is too large.")
                return bytes(text)
        except (HTTPError, InvalidURL, OSError, TimeoutError, ValueError) as error:
            raise IssuerUnavailable from error


def _trust(ca_bundle: str | None) -> ssl.SSLContext:
    if ca_bundle is None:
        return public_trust()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=ca_bundle)
    return context
