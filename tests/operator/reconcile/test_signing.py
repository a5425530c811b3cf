"""The key with which a tenant's runtime signs."""

import base64
from typing import Any

import pytest

from syntera_crds.contract import names
from syntera_kube import resources as kube
from syntera_operator.desired.credentials import is_signing_key
from syntera_operator.errors import StoreUnavailable

from .conftest import World


def signing_key(world: World) -> str:
    return world.cluster.secret("acme", names.SIGNING_SECRET)[names.SIGNING_KEY_KEY]


async def test_signing_key_is_made_once_and_kept(world: World, acme: Any) -> None:
    tenant = acme()
    await world.settle()
    made = signing_key(world)
    assert is_signing_key(made)
    world.edit(tenant, displayName="Changed")
    await world.settle()
    assert signing_key(world) == made


async def test_signing_key_is_there_before_the_pods(world: World, acme: Any) -> None:
    acme()
    await world.tenant()
    kinds = [(write.kind, write.name) for write in world.cluster.writes]
    assert kinds.index(("Secret", names.SIGNING_SECRET)) < kinds.index(("Deployment", names.RUNTIME))


async def test_signing_key_that_was_deleted_is_made_anew(world: World, acme: Any) -> None:
    acme()
    await world.settle()
    made = signing_key(world)
    world.cluster.remove(kube.SECRETS, "acme", names.SIGNING_SECRET)
    world.cluster.forget_writes()
    await world.tenant()
    assert is_signing_key(signing_key(world))
    assert signing_key(world) != made
    assert [(write.verb, write.name) for write in world.cluster.writes] == [("apply", names.SIGNING_SECRET)]


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"other": base64.b64encode(bytes(32)).decode()},
        {names.SIGNING_KEY_KEY: base64.b64encode(b"no key").decode()},
        {names.SIGNING_KEY_KEY: base64.b64encode(base64.b64encode(bytes(16))).decode()},
    ],
)
async def test_signing_key_that_is_unusable_is_made_anew(world: World, acme: Any, data: dict[str, str]) -> None:
    acme()
    await world.settle()
    made = signing_key(world)
    world.cluster.get(kube.SECRETS, "acme", names.SIGNING_SECRET)["data"] = data
    await world.tenant()
    assert is_signing_key(signing_key(world))
    assert signing_key(world) != made


async def test_signing_key_waits_for_no_store(world: World, acme: Any) -> None:
    acme()
    world.stores.away = {"PostgreSQL", "Redis"}
    with pytest.raises(StoreUnavailable):
        await world.tenant()
    assert is_signing_key(signing_key(world))


async def test_signing_secret_of_somebody_else_is_left_alone(world: World, acme: Any) -> None:
    tenant = acme()
    world.cluster.put_secret("acme", names.SIGNING_SECRET, "theirs", usable="false")
    await world.tenant()
    assert world.conditions(tenant)["NamespaceReady"] == ("False", "NameTaken")
    assert world.cluster.secret("acme", names.SIGNING_SECRET) == {"theirs": "secret"}
