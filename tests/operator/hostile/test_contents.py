"""Contents that are larger than anything usual, that are no text, or that try to be more than text."""

import asyncio
import base64
from typing import Any

import pytest

from syntera_crds.contract import names
from syntera_kube import resources as kube
from syntera_operator.manifest import AGENTS
from syntera_operator.reconcile.agent import reconcile_agent
from syntera_operator.reconcile.tenant import reconcile_tenant
from tests.operator.reconcile.test_on_api_server import Api
from tests.support.apiserver import ApiRefused
from tests.support.make import make_agent_manifest, make_tenant_manifest

from .test_names import conditions

pytestmark = [pytest.mark.api, pytest.mark.long]

MEBIBYTE = 1024 * 1024


@pytest.fixture
async def tenant(api: Api, name: str) -> str:
    """A Tenant with its namespace, both of that name."""
    api.put(make_tenant_manifest(name))
    await reconcile_tenant(name, api.context)
    return name


async def try_agent(api: Api, namespace: str, **spec: Any) -> tuple[str, str]:
    """Put an Agent there; status and reason of its first condition that is not True."""
    api.put(make_agent_manifest("hostile", namespace=namespace, **spec))
    await reconcile_agent(namespace, "hostile", api.context)
    found = conditions(api.get(AGENTS, namespace, "hostile"))
    return next((found[one] for one in ("Accepted", "ResolvedRefs") if found[one][0] != "True"), ("True", ""))


def published(api: Api, namespace: str) -> str | None:
    if not api.exists(kube.CONFIG_MAPS, namespace, "agent-hostile"):
        return None
    return str(api.get(kube.CONFIG_MAPS, namespace, "agent-hostile")["data"][names.AGENT_CONFIG_KEY])


@pytest.mark.parametrize(
    "text",
    [
        "{{tenant.__class__}}", "{{ tenant.name.__init__ }}", "{{tenant}}", "{{agent.uid}}", "{{ }}", "{{", "{{a",
        "{{{{agent.name}}}}", "{{{agent.name}}}", "{{agent.name\n}}x{{", "{{lookup('file','/etc/passwd')}}", "{{7*7}}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("field", ["instructions", "greeting"])
async def test_expression_that_is_none_of_ours_is_refused(api: Api, tenant: str, field: str, text: str) -> None:
    assert await try_agent(api, tenant, **{field: text}) == ("False", "Invalid")
    assert published(api, tenant) is None


@pytest.mark.parametrize(
    "text", ["{% for x in y %}", "${HOME}", "$(id)", "%(agent)s", "{agent.name}", "{0.__class__}", "}}", "`id`"]
)
async def test_expression_of_another_language_is_text(api: Api, tenant: str, text: str) -> None:
    assert await try_agent(api, tenant, instructions=text) == ("True", "")
    assert text in (published(api, tenant) or "")


async def test_value_that_looks_like_an_expression_is_not_looked_at_again(api: Api, name: str) -> None:
    api.put(make_tenant_manifest(name, displayName="{{agent.displayName}}"))
    await reconcile_tenant(name, api.context)

    await try_agent(
        api, name, displayName="{{tenant.name}}", instructions="{{tenant.displayName}} {{agent.displayName}}"
    )

    assert "{{agent.displayName}} {{tenant.name}}" in (published(api, name) or "")


async def test_agent_that_is_larger_than_a_config_map_is_told_so(api: Api, tenant: str) -> None:
    parameters = {f"p{index}": "x" * 100_000 for index in range(11)}

    assert await try_agent(api, tenant, model={"parameters": parameters}) == ("False", "TooLarge")

    assert published(api, tenant) is None
    assert await try_agent(api, tenant) == ("True", "")


async def test_agent_that_is_larger_than_the_api_server_takes_never_arrives(api: Api, tenant: str) -> None:
    parameters = {f"p{index}": "x" * 200_000 for index in range(32)}
    with pytest.raises(ApiRefused) as caught:
        api.put(make_agent_manifest("hostile", namespace=tenant, model={"parameters": parameters}))
    assert caught.value.status == 413


FROM_PROMPT = {"instructions": None, "instructionsFrom": {"configMapKeyRef": {"name": "prompt", "key": "text"}}}


@pytest.mark.parametrize(
    ("content", "outcome"),
    [
        ({"data": {"text": "x" * (MEBIBYTE - 100)}}, ("False", "TooLarge")),
        # Each of these takes six bytes of JSON.
        ({"data": {"text": "\1" * 300_000}}, ("False", "TooLarge")),
        ({"data": {"text": "ü" * 500_000}}, ("True", "")),
        ({"data": {"text": "a\0b\u2028\ufeff\U0001f600"}}, ("True", "")),
        ({"data": {"text": ""}}, ("False", "Invalid")),
        ({"binaryData": {"text": base64.b64encode(b"plain").decode()}}, ("False", "ConfigMapKeyNotFound")),
        ({"binaryData": {"text": base64.b64encode(b"\xff\xfe\x00" * 1000).decode()}}, ("False", "ConfigMapKeyNotFound")),
    ],
    ids=["a mebibyte", "control characters", "half a mebibyte of ü", "odd characters", "nothing", "binary text", "no text"],
)  # fmt: skip
async def test_instructions_of_any_bytes(
    api: Api, tenant: str, content: dict[str, Any], outcome: tuple[str, str]
) -> None:
    body = {"metadata": {"name": "prompt"}, **content}
    api.server.send("POST", kube.CONFIG_MAPS.path(namespace=tenant), body)
    async with asyncio.timeout(30):
        while await api.cluster.config_map_data(tenant, "prompt") is None:  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.02)

    assert await try_agent(api, tenant, **FROM_PROMPT) == outcome
    assert (published(api, tenant) is not None) == (outcome[0] == "True")
