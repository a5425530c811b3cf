"""The samples: sound for the models, taken whole by the API server, and applied by the one command that the docs name."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from syntera_crds.contract.names import TENANT_LABEL, USABLE_LABEL
from syntera_crds.v1alpha1 import KINDS, Agent, KnowledgeBase, Tenant
from syntera_crds.v1alpha1.agent import AgentSpec
from syntera_crds.validation import load, load_as
from tests.support.apiserver import RunningApiServer

from .constraints import Json
from .server import Kinds

SAMPLES = Path(__file__).parents[2] / "manifests" / "samples"
OPENAI = SAMPLES / "openai"
SUPABASE = SAMPLES / "supabase"


def documents(*files: Path) -> list[Json]:
    return [document for file in files for document in yaml.safe_load_all(file.read_text())]


DEFAULT = documents(*sorted(SAMPLES.glob("*.yaml")))
ALL = documents(*sorted(SAMPLES.rglob("*.yaml")))
OURS = [document for document in ALL if document["kind"] in KINDS]


def of_kind(manifests: list[Json], kind: str) -> list[Json]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def test_every_kind_has_a_sample() -> None:
    assert {document["kind"] for document in OURS} == set(KINDS)


@pytest.mark.parametrize("manifest", OURS, ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_sample_is_sound(manifest: Json) -> None:
    load(manifest)


def test_samples_hand_their_namespace_over_to_the_tenant() -> None:
    """Agents are applied together with the Tenant, before the operator could make their namespace."""
    assert DEFAULT[0]["kind"] == "Namespace", "kubectl applies files in the order of their names"
    (tenant,) = of_kind(DEFAULT, "Tenant")
    namespace = DEFAULT[0]["metadata"]
    assert namespace["labels"][TENANT_LABEL] == tenant["metadata"]["name"]
    assert {namespace["name"]} == {load_as(Tenant, tenant).namespace} | {
        document["metadata"]["namespace"] for document in DEFAULT if "namespace" in document["metadata"]
    }


@pytest.mark.parametrize("folder", [SAMPLES, OPENAI, SUPABASE], ids=["default", "openai", "supabase"])
def test_samples_agents_find_their_endpoints(folder: Path) -> None:
    (tenant,) = of_kind(documents(*folder.glob("*.yaml")), "Tenant")
    endpoints = {endpoint.name for endpoint in load_as(Tenant, tenant).spec.models}
    for manifest in of_kind(DEFAULT, "Agent"):
        model = load_as(Agent, manifest).spec.model
        assert {fallback.endpoint for fallback in model.fallbacks} <= endpoints
        assert model.endpoint is None or model.endpoint in endpoints


@pytest.mark.parametrize("folder", [SAMPLES, OPENAI, SUPABASE], ids=["default", "openai", "supabase"])
def test_samples_agents_find_their_knowledge(folder: Path) -> None:
    (tenant,) = of_kind(documents(*folder.glob("*.yaml")), "Tenant")
    assert any(endpoint.embedding for endpoint in load_as(Tenant, tenant).spec.models)
    knowledge_bases = {manifest["metadata"]["name"] for manifest in of_kind(DEFAULT, "KnowledgeBase")}
    agents = [load_as(Agent, manifest) for manifest in of_kind(DEFAULT, "Agent")]
    known = {knowledge.name for agent in agents for knowledge in agent.spec.knowledge}
    assert known == knowledge_bases


def test_samples_knowledge_bases_find_their_config_maps() -> None:
    config_maps = {manifest["metadata"]["name"] for manifest in of_kind(DEFAULT, "ConfigMap")}
    for manifest in of_kind(DEFAULT, "KnowledgeBase"):
        sources = load_as(KnowledgeBase, manifest).spec.sources
        assert {source.config_map.name for source in sources if source.config_map} <= config_maps


def test_samples_use_template_expressions_that_exist() -> None:
    expression = r"\{\{[^}]*\}\}"
    known = re.findall(expression, AgentSpec.model_fields["instructions"].description or "")
    used = {found for document in DEFAULT for found in re.findall(expression, yaml.safe_dump(document, width=10**6))}
    assert used
    assert used <= set(known)


def test_openai_sample_names_a_secret_that_may_be_used() -> None:
    (tenant,) = of_kind(documents(OPENAI / "tenant.yaml"), "Tenant")
    (secret,) = documents(OPENAI / "secret.example")
    reference = load_as(Tenant, tenant).spec.models[0].api_key_secret_ref
    assert reference is not None
    assert (reference.name, {reference.key}) == (secret["metadata"]["name"], set(secret["stringData"]))
    assert secret["metadata"]["labels"][USABLE_LABEL] == "true"
    assert secret["metadata"]["namespace"] == load_as(Tenant, tenant).namespace


def test_supabase_sample_believes_no_claim_that_people_write_themselves() -> None:
    (tenant,) = documents(SUPABASE / "tenant.yaml")
    [issuer] = load_as(Tenant, tenant).spec.auth.issuers
    assert issuer.audiences == ["authenticated"]
    assert issuer.jwks_url == f"{issuer.issuer}/.well-known/jwks.json"
    assert issuer.role_claim == "app_metadata.role"


@pytest.fixture(scope="module")
def applied(api_server: RunningApiServer) -> Iterator[None]:
    """The samples on the server; the variants come after them, as a reader of their README applies them."""
    _kubectl(api_server, "apply", "-f", SAMPLES)
    yield
    _kubectl(api_server, "delete", "--wait=false", "-f", SAMPLES)


@pytest.mark.api
@pytest.mark.parametrize("manifest", of_kind(DEFAULT, "Agent"), ids=lambda one: one["metadata"]["name"])
def test_api_server_keeps_every_field_of_a_sample_agent(
    manifest: Json, applied: None, api_server: RunningApiServer
) -> None:
    kinds = Kinds(api_server, manifest["metadata"]["namespace"])
    assert kinds.get("Agent", manifest["metadata"]["name"])["spec"] == manifest["spec"]


@pytest.mark.api
@pytest.mark.parametrize("folder", [OPENAI, SUPABASE], ids=["openai", "supabase"])
def test_api_server_keeps_every_field_of_a_sample_tenant(
    folder: Path, applied: None, api_server: RunningApiServer, kinds: Kinds
) -> None:
    _kubectl(api_server, "apply", "-f", folder)
    (manifest,) = documents(folder / "tenant.yaml")
    assert kinds.get("Tenant", manifest["metadata"]["name"])["spec"] == manifest["spec"]


def _kubectl(server: RunningApiServer, *words: str | Path) -> None:
    kubectl = Path(sys.executable).with_name("kubectl")
    subprocess.run([kubectl, "--kubeconfig", server.kubeconfig, *words], check=True, timeout=120, capture_output=True)
