"""An Agent's life: compiled, published, served, edited well and badly."""

from datetime import timedelta
from typing import Any

import pytest

from syntera_crds.contract import names
from syntera_crds.contract.agent_config import AgentConfig
from syntera_kube import resources as kube
from syntera_kube.errors import Forbidden, Invalid
from syntera_operator.cluster import Reference
from syntera_operator.desired.published import MAX_BYTES
from syntera_operator.errors import RuntimeUnreachable
from syntera_operator.manifest import AGENTS, Manifest
from syntera_operator.queue import Key
from tests.support.fake_cluster import Write
from tests.support.kstatus import Kstatus
from tests.support.make import (
    make_agent_manifest,
    make_endpoint,
    make_knowledge_base_manifest,
    make_tenant_manifest,
)

from .conftest import World


def published_agents(world: World) -> list[str]:
    """Names of the ConfigMaps in which agents are published."""
    prefix = names.published_agent_name("")
    return [name for name in world.cluster.list_names(kube.CONFIG_MAPS, "acme") if name.startswith(prefix)]


@pytest.fixture(autouse=True)
async def tenant(world: World) -> Manifest:
    """The Tenant `acme`, up, without pods."""
    world.cluster.put(make_tenant_manifest())
    await world.settle()
    world.cluster.forget_writes()
    return world.the_tenant()


def make(world: World, **fields: Any) -> Manifest:
    world.cluster.put(make_agent_manifest(**fields))
    return world.the_agent()


def published(world: World) -> AgentConfig:
    return AgentConfig.model_validate_json(world.the_published()["data"][names.AGENT_CONFIG_KEY])


async def test_agent_when_new_is_published_with_two_writes(world: World) -> None:
    agent = make(world)
    outcome = await world.agent()
    assert world.cluster.writes == [Write("apply", "ConfigMap", "agent-travel"), Write("status", "Agent", "travel")]
    assert world.cluster.events == []
    assert outcome.requeue_after_seconds is None
    config = published(world)
    assert (config.revision, config.instructions) == (1, "You help customers of acme.")
    metadata = world.the_published()["metadata"]
    assert metadata["labels"][names.PUBLISHED_LABEL] == "agent"
    assert metadata["ownerReferences"][0]["uid"] == agent["metadata"]["uid"]
    assert metadata["managedFields"] == [{"manager": names.AGENT_FIELD_MANAGER}]


async def test_agent_without_pods_is_published_but_not_ready(world: World) -> None:
    agent = make(world)
    await world.agent()
    assert world.conditions(agent) == {
        "Accepted": ("True", "Accepted"),
        "ResolvedRefs": ("True", "Resolved"),
        "Ready": ("False", "PodsNotReady"),
        "Reconciling": ("True", "PodsNotReady"),
        "Stalled": ("False", "PodsNotReady"),
    }
    status = agent["status"]
    assert (status["revision"], status["digest"]) == (1, world.the_published()["data"][names.DIGEST_KEY])
    assert status["url"] == "http://syntera-runtime.acme.svc/v1/agents/travel"
    assert status["observedGeneration"] == 1


async def test_agent_when_nothing_changed_writes_nothing(world: World) -> None:
    make(world)
    world.cluster.put_pod("acme", "one")
    await world.agent()
    world.cluster.forget_writes()
    await world.agent()
    assert world.cluster.writes == []
    assert world.cluster.events == []


async def test_agent_that_is_gone_or_going_forgets_its_references(world: World) -> None:
    await world.agent("gone")
    agent = make(world)
    agent["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z"
    await world.agent()
    assert world.cluster.references[Key("Agent", "acme", "gone")] == set()
    assert world.cluster.references[Key("Agent", "acme", "travel")] == set()
    assert world.cluster.writes == []


# Served ------------------------------------------------------------------------------------------------------------


async def test_agent_that_every_ready_pod_serves_is_ready(world: World) -> None:
    agent = make(world)
    world.cluster.put_pod("acme", "one", ip="10.9.0.1")
    world.cluster.put_pod("acme", "two", ip="10.9.0.2")
    world.cluster.put_pod("acme", "not-ready", ip="10.9.0.3", ready=False)
    world.runtimes.stuck = {"10.9.0.3"}
    await world.agent()
    assert world.conditions(agent)["Ready"] == ("True", "Serving")
    assert world.state(agent) is Kstatus.CURRENT
    assert world.runtimes.tenants == {world.stores.ids["acme"]}
    assert len(world.runtimes.waits) == 2
    (told,) = world.cluster.events
    assert (told.type, told.reason) == ("Normal", "Ready")
    assert "Revision 1" in told.message


async def test_agent_that_one_ready_pod_does_not_serve_is_not_ready_and_asked_for_again(world: World) -> None:
    agent = make(world)
    world.cluster.put_pod("acme", "one", ip="10.9.0.1")
    world.cluster.put_pod("acme", "two", ip="10.9.0.2")
    world.runtimes.stuck = {"10.9.0.2"}
    outcome = await world.agent()
    assert world.conditions(agent)["Ready"] == ("False", "NotLoaded")
    assert "1 of 2 ready runtime pods" in world.message(agent, "Ready")
    assert outcome.requeue_after_seconds == 2
    assert world.state(agent) is Kstatus.IN_PROGRESS


async def test_agent_gives_the_pods_time_only_for_what_was_just_published(world: World) -> None:
    make(world)
    world.cluster.put_pod("acme", "one")
    await world.agent()
    await world.agent()
    first, second = world.runtimes.waits
    assert 0 < first <= 5
    assert second == 0


async def test_agent_whose_pod_does_not_answer_is_not_ready_and_tried_again(world: World) -> None:
    agent = make(world)
    world.cluster.put_pod("acme", "one", ip="10.9.0.1")
    world.runtimes.away = {"10.9.0.1"}
    with pytest.raises(RuntimeUnreachable):
        await world.agent()
    assert world.conditions(agent)["Ready"] == ("False", "NotLoaded")
    assert agent["status"]["revision"] == 1


async def test_agent_of_a_suspended_tenant_is_published_and_says_so(world: World, tenant: Manifest) -> None:
    world.edit(tenant, suspended=True)
    agent = make(world)
    await world.agent()
    assert world.conditions(agent)["Ready"] == ("False", "Suspended")
    assert world.conditions(agent)["Reconciling"] == ("False", "UpToDate")
    assert published(world).revision == 1


# Edited ------------------------------------------------------------------------------------------------------------


async def test_agent_with_an_edit_gets_the_next_revision(world: World) -> None:
    agent = make(world)
    world.cluster.put_pod("acme", "one")
    await world.agent()
    world.edit(agent, instructions="Be brief.")
    world.cluster.forget_writes()
    await world.agent()
    assert len(world.cluster.writes) == 2
    assert (published(world).revision, published(world).instructions) == (2, "Be brief.")
    assert agent["status"]["revision"] == 2
    assert [told.reason for told in world.cluster.events] == ["Ready"]


async def test_agent_with_an_edit_that_changes_nothing_keeps_its_revision(world: World) -> None:
    agent = make(world)
    await world.agent()
    world.edit(agent, description="")
    world.cluster.forget_writes()
    await world.agent()
    assert world.cluster.writes == [Write("status", "Agent", "travel")]
    assert agent["status"]["revision"] == 1


async def test_agent_whose_configuration_was_deleted_by_hand_gets_it_back_with_its_revision(world: World) -> None:
    agent = make(world)
    await world.agent()
    world.edit(agent, instructions="Second.")
    await world.agent()
    before = world.the_published()["data"]
    world.cluster.remove(kube.CONFIG_MAPS, "acme", "agent-travel")
    world.cluster.forget_writes()
    await world.agent()
    assert world.the_published()["data"] == before
    assert world.cluster.writes == [Write("apply", "ConfigMap", "agent-travel")]


async def test_agent_whose_configuration_was_deleted_and_that_was_edited_gets_a_new_revision(world: World) -> None:
    agent = make(world)
    await world.agent()
    world.cluster.remove(kube.CONFIG_MAPS, "acme", "agent-travel")
    world.edit(agent, instructions="Second.")
    await world.agent()
    assert published(world).revision == 2


async def test_agent_whose_configuration_was_edited_by_hand_is_repaired(world: World) -> None:
    make(world)
    await world.agent()
    world.the_published()["data"][names.AGENT_CONFIG_KEY] = '{"revision": 900, "instructions": "Obey me."}'
    await world.agent()
    assert (published(world).revision, published(world).instructions) == (1, "You help customers of acme.")


async def test_agent_whose_status_was_lost_goes_on_with_its_published_revision(world: World) -> None:
    agent = make(world)
    await world.agent()
    world.edit(agent, instructions="Second.")
    await world.agent()
    del agent["status"]
    await world.agent()
    assert agent["status"]["revision"] == 2


async def test_agent_follows_its_tenant(world: World, tenant: Manifest) -> None:
    make(world)
    await world.agent()
    world.edit(tenant, displayName="Acme Travel")
    await world.agent()
    assert (published(world).revision, published(world).instructions) == (2, "You help customers of Acme Travel.")


BAD_EDITS = [
    pytest.param({"instructions": "{{company}}"}, "Accepted", "Invalid", "'{{company}}' is unknown", id="expression"),
    pytest.param({"instructions": "{{tenant.name"}, "Accepted", "Invalid", "no closing", id="unclosed"),
    pytest.param({"memory": {"historyMessages": 0}}, "Accepted", "Invalid", "spec.memory.historyMessages", id="bounds"),
    pytest.param({"instructions": None}, "Accepted", "Invalid", "exactly one of instructions", id="no instructions"),
    pytest.param(
        {"model": {"parameters": {"stream": True}}}, "Accepted", "Invalid", "spec.model.parameters", id="parameters"
    ),
    pytest.param({"model": {"endpoint": "lost"}}, "ResolvedRefs", "EndpointNotFound", "'lost'", id="endpoint"),
    pytest.param(
        {"limits": {"overSoftLimit": {"model": {"endpoint": "lost"}}}},
        "ResolvedRefs",
        "EndpointNotFound",
        "spec.limits.overSoftLimit.model.endpoint",
        id="endpoint near limits",
    ),
    pytest.param(
        {"limits": {"message": "{{nobody}}"}}, "Accepted", "Invalid", "spec.limits.message", id="words at limits"
    ),
    pytest.param(
        {"instructions": None, "instructionsFrom": {"configMapKeyRef": {"name": "long", "key": "text"}}},
        "ResolvedRefs",
        "ConfigMapNotFound",
        "'long'",
        id="config map",
    ),
]


@pytest.mark.parametrize(("edit", "condition", "reason", "message"), BAD_EDITS)
async def test_agent_with_a_bad_edit_keeps_the_last_good_configuration(
    world: World, edit: dict[str, Any], condition: str, reason: str, message: str
) -> None:
    agent = make(world)
    world.cluster.put_pod("acme", "one")
    await world.agent()
    before = dict(world.the_published()["data"])
    world.cluster.forget_writes()
    world.edit(agent, **edit)
    await world.agent()
    assert world.the_published()["data"] == before
    assert world.cluster.writes == [Write("status", "Agent", "travel")]
    assert world.conditions(agent)[condition] == ("False", reason)
    assert world.conditions(agent)["Ready"] == ("False", reason)
    assert message in world.message(agent, "Ready")
    assert world.message(agent, "Ready").endswith("Revision 1 stays published.")
    assert agent["status"]["revision"] == 1
    assert [(told.type, told.reason) for told in world.cluster.events] == [("Warning", reason)]

    world.edit(agent, **make_agent_manifest()["spec"], **dict.fromkeys(set(edit) - {"instructions"}))
    await world.agent()
    assert world.conditions(agent)["Ready"] == ("True", "Serving")
    assert agent["status"]["revision"] == 1


@pytest.mark.parametrize(("edit", "condition", "reason", "message"), BAD_EDITS)
async def test_agent_that_was_never_good_is_not_published(
    world: World, edit: dict[str, Any], condition: str, reason: str, message: str
) -> None:
    agent = make(world, **edit)
    await world.agent()
    assert published_agents(world) == []
    assert world.conditions(agent)[condition] == ("False", reason)
    assert "stays" not in world.message(agent, "Ready")
    assert message in world.message(agent, "Ready")
    assert world.state(agent) is (Kstatus.FAILED if condition == "Accepted" else Kstatus.IN_PROGRESS)


async def test_agent_that_names_another_agents_namespace_cannot(world: World) -> None:
    agent = make(world, model={"endpoint": "../globex"})
    await world.agent()
    assert world.conditions(agent)["Accepted"] == ("False", "Invalid")


# Instructions from elsewhere ----------------------------------------------------------------------------------------

ELSEWHERE: dict[str, Any] = {
    "instructions": None,
    "instructionsFrom": {"configMapKeyRef": {"name": "prompts", "key": "travel.md"}},
}


async def test_agent_with_instructions_from_a_config_map_follows_it(world: World) -> None:
    make(world, **ELSEWHERE)
    world.cluster.put_config_map("acme", "prompts", travel_md="You are {{agent.name}}.")
    await world.agent()
    assert published(world).instructions == "You are travel."
    assert world.cluster.references[Key("Agent", "acme", "travel")] == {Reference("ConfigMap", "acme", "prompts")}

    world.cluster.put_config_map("acme", "prompts", travel_md="You were {{agent.name}}.")
    await world.agent()
    assert (published(world).revision, published(world).instructions) == (2, "You were travel.")


@pytest.mark.parametrize(
    ("text", "condition", "reason"),
    [
        (None, "ResolvedRefs", "ConfigMapKeyNotFound"),
        ("", "Accepted", "Invalid"),
        ("{{lost}}", "Accepted", "Invalid"),
        ("é" * MAX_BYTES, "Accepted", "TooLarge"),
    ],
)
async def test_agent_with_a_config_map_that_cannot_be_used(
    world: World, text: str | None, condition: str, reason: str
) -> None:
    agent = make(world, **ELSEWHERE)
    world.cluster.put_config_map("acme", "prompts", **({"other": "x"} if text is None else {"travel_md": text}))
    await world.agent()
    assert world.conditions(agent)[condition] == ("False", reason)
    assert published_agents(world) == []
    assert len(world.message(agent, "Ready")) < 500


async def test_agent_that_just_fits_is_published(world: World) -> None:
    make(world, **ELSEWHERE)
    world.cluster.put_config_map("acme", "prompts", travel_md="x" * (MAX_BYTES - 1000))
    await world.agent()
    assert len(published(world).instructions) == MAX_BYTES - 1000


# Secrets -----------------------------------------------------------------------------------------------------------


async def test_agent_whose_endpoint_has_a_secret_that_may_not_be_used_is_not_published(
    world: World, tenant: Manifest
) -> None:
    world.edit(tenant, models=[make_endpoint(apiKeySecretRef={"name": "openai", "key": "api-key"})])
    agent = make(world)
    world.cluster.put_secret("acme", "openai", "api-key", usable=None)
    await world.agent()
    assert world.conditions(agent)["ResolvedRefs"] == ("False", "SecretNotUsable")
    assert published_agents(world) == []

    world.cluster.put_secret("acme", "openai", "api-key")
    await world.agent()
    assert {key.name for key in published(world).secret_keys()} == {"openai"}
    assert "secret" not in world.the_published()["data"][names.AGENT_CONFIG_KEY].replace("Secret", "")


async def test_agent_does_not_care_for_endpoints_that_it_does_not_use(world: World, tenant: Manifest) -> None:
    other = make_endpoint("other", apiKeySecretRef={"name": "lost", "key": "api-key"})
    world.edit(tenant, models=[make_endpoint(), other])
    agent = make(world)
    await world.agent()
    assert world.conditions(agent)["ResolvedRefs"] == ("True", "Resolved")


# The Tenant --------------------------------------------------------------------------------------------------------


async def test_agent_in_a_namespace_without_tenant_waits_for_one(world: World) -> None:
    world.cluster.put(make_agent_manifest(namespace="elsewhere"))
    await world.agent(namespace="elsewhere")
    agent = world.the_agent(namespace="elsewhere")
    assert world.conditions(agent)["ResolvedRefs"] == ("False", "TenantNotFound")
    assert world.state(agent) is Kstatus.IN_PROGRESS
    assert world.cluster.list_names(kube.CONFIG_MAPS, "elsewhere") == []
    assert world.cluster.events == []


async def test_agent_in_a_namespace_that_only_claims_to_be_the_tenants_gets_nothing(world: World) -> None:
    world.cluster.put_namespace("impostor", labels={names.TENANT_LABEL: "acme"})
    world.cluster.put(make_agent_manifest(namespace="impostor"))
    await world.agent(namespace="impostor")
    agent = world.the_agent(namespace="impostor")
    assert world.conditions(agent)["ResolvedRefs"] == ("False", "TenantNotFound")
    assert world.cluster.list_names(kube.CONFIG_MAPS, "impostor") == []


async def test_agent_of_a_tenant_with_a_bad_edit_goes_on_being_served(world: World, tenant: Manifest) -> None:
    agent = make(world)
    await world.agent()
    before = dict(world.the_published()["data"])
    world.edit(tenant, models=[make_endpoint("a"), make_endpoint("a")])
    await world.agent()
    assert world.conditions(agent)["Ready"] == ("False", "TenantNotAccepted")
    assert world.the_published()["data"] == before


async def test_agent_of_a_tenant_that_is_not_accepted_is_not_published(world: World, tenant: Manifest) -> None:
    agent = make(world)
    for condition in tenant["status"]["conditions"]:
        if condition["type"] == "Accepted":
            condition["status"] = "False"
    await world.agent()
    assert world.conditions(agent)["ResolvedRefs"] == ("False", "TenantNotAccepted")
    assert published_agents(world) == []


async def test_agent_of_a_tenant_that_is_still_being_set_up_waits(world: World, tenant: Manifest) -> None:
    agent = make(world)
    for condition in tenant["status"]["conditions"]:
        if condition["type"] == "NamespaceReady":
            condition["status"] = "Unknown"
    await world.agent()
    assert world.conditions(agent)["Ready"] == ("False", "Pending")
    assert published_agents(world) == []


async def test_agent_of_a_tenant_that_is_being_deleted_says_so(world: World, tenant: Manifest) -> None:
    agent = make(world)
    tenant["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z"
    await world.agent()
    assert world.conditions(agent)["Ready"] == ("False", "Deleting")


async def test_agent_of_a_tenant_without_endpoints_is_told_to_add_one(world: World, tenant: Manifest) -> None:
    world.edit(tenant, models=[])
    agent = make(world)
    await world.agent()
    assert world.conditions(agent)["ResolvedRefs"] == ("False", "EndpointNotFound")
    assert "add one to its spec.models" in world.message(agent, "Ready")


# Writing -----------------------------------------------------------------------------------------------------------


async def test_agent_whose_config_map_is_somebody_elses_leaves_it_alone(world: World) -> None:
    world.cluster.put_config_map("acme", "agent-travel", theirs="yes")
    agent = make(world)
    outcome = await world.agent()
    assert world.conditions(agent)["Ready"] == ("False", "NameTaken")
    assert world.the_published()["data"] == {"theirs": "yes"}
    assert outcome.requeue_after_seconds is not None


async def test_agent_whose_configuration_is_refused_says_so(world: World) -> None:
    world.cluster.failures["apply", "ConfigMap"] = Invalid("metadata.name: no")
    agent = make(world)
    await world.agent()
    assert world.conditions(agent)["Ready"] == ("False", "Rejected")
    assert "revision" not in agent["status"]


async def test_agent_that_may_not_be_published_yet_is_tried_again(world: World) -> None:
    world.cluster.failures["apply", "ConfigMap"] = Forbidden("configmaps is forbidden")
    make(world)
    with pytest.raises(Forbidden):
        await world.agent()


async def test_agent_made_anew_under_its_name_is_another_one(world: World) -> None:
    make(world)
    await world.agent()
    world.cluster.remove(AGENTS, "acme", "travel")
    make(world, uid="uid-another")
    await world.agent()
    assert published(world).uid == "uid-another"
    assert published(world).revision == 2
    assert world.the_published()["metadata"]["ownerReferences"][0]["uid"] == "uid-another"


async def test_agent_keeps_its_transition_times(world: World) -> None:
    agent = make(world)
    await world.agent()
    first = {one["type"]: one["lastTransitionTime"] for one in agent["status"]["conditions"]}
    world.time += timedelta(hours=1)
    world.edit(agent, instructions="Second.")
    await world.agent()
    assert {one["type"]: one["lastTransitionTime"] for one in agent["status"]["conditions"]} == first


@pytest.mark.parametrize("status", [{"conditions": [{"type": "Ready"}]}, {"revision": "seven"}, {"conditions": "none"}])
async def test_agent_whose_status_makes_no_sense_gets_a_new_one(world: World, status: dict[str, Any]) -> None:
    agent = make(world)
    agent["status"] = status
    await world.agent()
    assert agent["status"]["revision"] == 1


async def test_agent_waits_for_the_knowledge_base_that_it_names(world: World) -> None:
    agent = make(world, knowledge=[{"name": "handbook", "topK": 3}])
    await world.agent()
    assert world.conditions(agent)["ResolvedRefs"] == ("False", "KnowledgeBaseNotFound")
    assert "spec.knowledge[0].name" in world.message(agent, "ResolvedRefs")
    assert Reference("KnowledgeBase", "acme", "handbook") in world.cluster.references[Key("Agent", "acme", "travel")]
    assert published_agents(world) == []

    world.cluster.put(make_knowledge_base_manifest())
    await world.agent()
    assert world.conditions(agent)["ResolvedRefs"] == ("False", "KnowledgeBaseNotPublished")

    world.the_knowledge_base()["status"] = {"revision": 1}
    await world.agent()
    assert world.conditions(agent)["ResolvedRefs"] == ("True", "Resolved")
    [knowledge] = published(world).knowledge
    assert (knowledge.name, knowledge.top_k, knowledge.min_score) == ("handbook", 3, None)


async def test_agent_whose_knowledge_base_goes_keeps_what_is_published(world: World) -> None:
    world.cluster.put(make_knowledge_base_manifest(status={"revision": 1}))
    agent = make(world, knowledge=[{"name": "handbook"}])
    await world.agent()
    world.the_knowledge_base()["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z"

    await world.agent()

    assert world.conditions(agent)["ResolvedRefs"] == ("False", "KnowledgeBaseNotFound")
    assert "Revision 1 stays published." in world.message(agent, "ResolvedRefs")


async def test_agent_for_which_nobody_names_a_model_says_so(world: World) -> None:
    endpoint = make_endpoint()
    endpoint.pop("chat")
    world.edit(world.the_tenant(), models=[endpoint])
    agent = make(world)

    await world.agent()

    assert world.conditions(agent)["ResolvedRefs"] == ("False", "ModelNotFound")
