"""Which model embeds a question for an index."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from syntera_crds.contract.agent_config import EndpointAccess, SecretKey
from syntera_crds.contract.knowledge_config import EmbeddingModel
from syntera_runtime.ids import new_id
from syntera_runtime.knowledge.question_models import find_question_model
from syntera_runtime.models.ids import IndexId, KnowledgeBaseId
from syntera_runtime.models.knowledge import Index, IndexModel, IndexState, IndexStorage
from tests.runtime.knowledge_fakes import FakeTenant, make_config, make_embedding, make_endpoint

OLD = make_embedding(
    model="old-embed", dimensions=8, query_prefix="query: ", document_prefix="passage: ", sends_dimensions=True
)
NEWER = make_endpoint(endpoint="newer", base_url="http://newer.example/v1")
NEW = make_embedding(**dict(NEWER), model="new-embed")


def make_index(made_by: IndexModel | None, *, dimensions: int = OLD.dimensions) -> Index:
    """One that this model has made."""
    return Index(
        id=IndexId(new_id()),
        knowledge_base_id=KnowledgeBaseId(new_id()),
        number=1,
        fingerprint="f1",
        dimensions=dimensions,
        state=IndexState.ACTIVE,
        storage=IndexStorage.COMMON,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        embedding=made_by,
    )


def find(index: Index, *endpoints: EndpointAccess, configured: EmbeddingModel = NEW) -> EmbeddingModel | None:
    return find_question_model(make_config(embedding=configured), index, tenant=FakeTenant(*endpoints).tenant())


def test_own_model_is_asked_as_it_is_configured_now() -> None:
    moved = OLD.model_copy(update={"endpoint": "newer", "base_url": "http://newer.example/v1", "query_prefix": "q: "})
    assert find(make_index(IndexModel.of(OLD)), configured=moved) == moved


def test_model_before_is_asked_at_its_endpoint_as_that_is_published_now() -> None:
    rotated = make_endpoint(api_key=SecretKey(name="rotated", key="key"), ca_bundle="PEM", timeout_seconds=3)
    found = find(make_index(IndexModel.of(OLD)), NEWER, rotated)
    assert found == OLD.model_copy(update=dict(rotated))


@pytest.mark.parametrize(
    "change",
    [{"model": "other"}, {"document_prefix": "other: "}],
)
def test_another_model_is_the_model_before(change: dict[str, str]) -> None:
    found = find(make_index(IndexModel.of(OLD)), make_endpoint(), configured=OLD.model_copy(update=change))
    assert found == OLD


def test_same_model_with_other_dimensions_is_the_model_before() -> None:
    found = find(make_index(IndexModel.of(OLD)), make_endpoint(), configured=OLD.model_copy(update={"dimensions": 4}))
    assert found == OLD


@pytest.mark.parametrize(
    "endpoints",
    [
        pytest.param([], id="there is none"),
        pytest.param([NEWER], id="it is gone"),
        pytest.param([make_endpoint(base_url="http://other.example/v1")], id="it is elsewhere"),
        pytest.param([make_endpoint(endpoint="newer")], id="it has another name"),
    ],
)
def test_model_before_is_not_known_where_its_endpoint_is_not(endpoints: list[EndpointAccess]) -> None:
    assert find(make_index(IndexModel.of(OLD)), *endpoints) is None


def test_model_before_is_not_known_while_there_is_no_tenant() -> None:
    assert find_question_model(make_config(embedding=NEW), make_index(IndexModel.of(OLD)), tenant=None) is None


def test_index_of_which_nobody_noted_the_model_has_that_of_the_knowledge_base_if_it_fits() -> None:
    index = make_index(None, dimensions=NEW.dimensions)
    assert find(index) == NEW
    assert find(replace(index, dimensions=8)) is None


def test_what_is_noted_of_a_model_leads_nowhere() -> None:
    with_key = OLD.model_copy(
        update={
            "api_key": SecretKey(name="openai", key="key"),
            "headers": {"X-Team": "a"},
            "proxy_url": "http://proxy.example",
            "ca_bundle": "PEM",
        }
    )
    noted = IndexModel.of(with_key)
    assert noted == IndexModel.of(OLD)
    assert "example" not in repr(noted)
