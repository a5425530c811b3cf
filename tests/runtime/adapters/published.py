"""Agents and tenants to publish, and waiting for what becomes of them."""

import asyncio
from collections.abc import Callable
from typing import Any

from syntera_crds.contract.agent_config import AgentConfig, ModelCandidate, SecretKey
from syntera_crds.contract.tenant_config import TenantConfig, TokenIssuer


def make_agent(name: str = "travel", *, needs: tuple[SecretKey, ...] = (), **fields: Any) -> AgentConfig:
    candidates = [
        ModelCandidate(endpoint="main", base_url="http://x", model="m", timeout_seconds=60, api_key=ref)
        for ref in needs or (None,)
    ]
    return AgentConfig.model_validate(
        {
            "name": name,
            "uid": f"uid-{name}",
            "revision": 1,
            "display_name": name,
            "instructions": "Be brief.",
            "models": candidates,
            **fields,
        }
    )


def make_tenant(**fields: Any) -> TenantConfig:
    issuer = TokenIssuer(
        issuer="https://login.example",
        audiences=["acme"],
        jwks_url="https://login.example/jwks.json",
        algorithms=["ES256"],
    )
    return TenantConfig.model_validate(
        {
            "name": "acme",
            "display_name": "Acme Travel",
            "issuers": [issuer],
            "allowed_origins": ["https://www.acme.example"],
            **fields,
        }
    )


async def eventually(holds: Callable[[], object]) -> None:
    """Wait until `holds` gives something true; the test's own limit is what ends it otherwise."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - anything may make it true, there is no one event
            await asyncio.sleep(0.005)
