"""The published ConfigMap and the arithmetic of its revisions."""

from typing import Any

import pytest
from hypothesis import example, given, strategies

from syntera_operator.desired.agent_config import build_agent_config, choose_models
from syntera_operator.desired.knowledge_config import build_knowledge_base_config, choose_embedding
from syntera_operator.desired.metadata import Scope
from syntera_operator.desired.published import (
    AGENT,
    KNOWLEDGE_BASE,
    Publication,
    build_published,
    build_published_tenant,
    next_revision,
    read_publication,
)
from syntera_operator.desired.tenant_config import build_tenant_config
from tests.support.golden import Golden
from tests.support.make import (
    make_agent,
    make_embedding,
    make_endpoint,
    make_issuer,
    make_knowledge_base,
    make_tenant,
)


def make_published(scope: Scope, revision: int = 7, digest: str = "d7") -> dict[str, Any]:
    agent, tenant = make_agent(), make_tenant()
    config = build_agent_config(
        agent,
        tenant,
        choose_models(agent, tenant),
        instructions="Help.",
        instructions_field="spec.instructions",
        bundles={},
    )
    return build_published(scope, config.model_copy(update={"revision": revision}), digest=digest)


def test_published(scope: Scope, golden: Golden) -> None:
    golden.check_manifests("desired/published.yaml", make_published(scope))


def test_published_tenant(scope: Scope, golden: Golden) -> None:
    config = build_tenant_config(make_tenant(auth={"issuers": [make_issuer()]}), {})
    golden.check_manifests("desired/published-tenant.yaml", build_published_tenant(scope, config))


def test_published_is_read_back(scope: Scope) -> None:
    assert read_publication(make_published(scope), AGENT) == Publication(7, "d7")


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"agent.json": "{"},
        {"agent.json": "[]", "digest": "d"},
        {"agent.json": "{}", "digest": "d"},
        {"agent.json": '{"revision": "7"}', "digest": "d"},
        {"agent.json": '{"revision": true}', "digest": "d"},
        {"agent.json": '{"revision": 0}', "digest": "d"},
        {"agent.json": '{"revision": 99999999999999999999}', "digest": "d"},
        {"agent.json": '{"revision": 7}'},
    ],
)
def test_published_that_was_edited_by_hand_says_nothing(data: Any) -> None:
    assert read_publication({"data": data}, AGENT) is None


def test_published_that_is_missing_says_nothing() -> None:
    assert read_publication(None, AGENT) is None


@pytest.mark.parametrize(
    ("recorded", "published", "revision"),
    [
        pytest.param(None, None, 1, id="first"),
        pytest.param(Publication(7, "new"), Publication(7, "new"), 7, id="unchanged"),
        pytest.param(Publication(7, "new"), None, 7, id="deleted by hand"),
        pytest.param(Publication(7, "new"), Publication(7, "edited"), 7, id="edited by hand"),
        pytest.param(Publication(7, "new"), Publication(900, "new"), 7, id="revision edited by hand"),
        pytest.param(
            Publication(1, "new"), Publication(3, "new"), 3, id="status writes lost while it changed to and fro"
        ),
        pytest.param(Publication(7, "old"), Publication(7, "old"), 8, id="changed"),
        pytest.param(Publication(7, "old"), None, 8, id="changed and deleted"),
        pytest.param(None, Publication(7, "new"), 7, id="status lost"),
        pytest.param(None, Publication(7, "old"), 8, id="status lost and changed"),
        pytest.param(Publication(6, "old"), Publication(7, "new"), 7, id="last status write lost"),
        pytest.param(Publication(6, "new"), Publication(7, "old"), 8, id="last status write lost and changed back"),
        pytest.param(Publication(8, "old"), Publication(7, "older"), 9, id="ConfigMap restored from a backup"),
    ],
)
def test_next_revision(recorded: Publication | None, published: Publication | None, revision: int) -> None:
    assert next_revision("new", recorded=recorded, published=published) == revision


@example([("a", set()), ("b", {"s"}), ("a", {"s"}), ("a", set())])
@given(
    strategies.lists(
        strategies.tuples(strategies.sampled_from("abc"), strategies.sets(strategies.sampled_from("sp"))), max_size=50
    )
)
def test_next_revision_grows_by_one_with_each_change_whatever_is_lost(history: list[tuple[str, set[str]]]) -> None:
    """Each step publishes a digest, then loses the status ("s", not both writes at once) or the ConfigMap ("p")."""
    recorded = published = None
    revision, last = 0, None
    for digest, lost in history:
        made = next_revision(digest, recorded=recorded, published=published)
        assert made == revision + (digest != last)
        revision, last = made, digest
        current = Publication(made, digest)
        recorded = recorded if lost == {"s"} else current
        published = None if lost == {"p"} else current


def test_published_knowledge_base(scope: Scope, golden: Golden) -> None:
    knowledge_base, tenant = make_knowledge_base(), make_tenant(models=[make_endpoint(embedding=make_embedding())])
    config = build_knowledge_base_config(
        knowledge_base, tenant, choose_embedding(knowledge_base, tenant), None, bundles={}
    )
    published = build_published(scope, config.model_copy(update={"revision": 7}), digest="d7")

    golden.check_manifests("desired/published-knowledge-base.yaml", published)
    assert read_publication(published, KNOWLEDGE_BASE) == Publication(7, "d7")
    assert read_publication(published, AGENT) is None
