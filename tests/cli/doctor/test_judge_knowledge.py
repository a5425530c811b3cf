"""What states of KnowledgeBases, and of the pods of their syncs, are told to mean."""

from typing import Any

import pytest

from syntera_cli.doctor.findings import Check, Finding, State
from syntera_cli.doctor.judge_knowledge import is_knowledge_base_ready, judge_knowledge
from syntera_cli.doctor.manifests import Hidden, SeenAll
from syntera_crds.contract import names
from tests.support.make import make_knowledge_base_manifest

from .make import NOW, Json, make_conditions, make_pod

LOGS = "kubectl logs"
SYNC = 'kubectl -n acme annotate kb handbook syntera.io/sync="$(date +%s)" --overwrite'
SYNCED = ("True", "Synced", "The last sync went through all sources.")


def make_knowledge_base(
    name: str = "handbook",
    *,
    generation: int = 1,
    observed: int = 1,
    deleted: str | None = None,
    ready: tuple[str, str, str] = ("True", "Serving", "Index 1 is searched."),
    synced: tuple[str, str, str] = SYNCED,
    **status: Any,
) -> Json:
    """A KnowledgeBase that is well."""
    conditions = make_conditions(Ready=ready, Synced=synced)
    told = {"observedGeneration": observed, "conditions": conditions, **status}
    return make_knowledge_base_manifest(
        name, generation=generation, deleted=deleted, finalizers=(names.KNOWLEDGE_BASE_FINALIZER,), status=told
    )


def judge(*knowledge_bases: Json, pods: SeenAll = ()) -> list[Finding]:
    return list(judge_knowledge(list(knowledge_bases), pods, [], logs=LOGS, now=NOW))


@pytest.mark.parametrize(
    ("knowledge_bases", "says"),
    [
        ([make_knowledge_base()], "The KnowledgeBase 'handbook' is searched and in step with its sources."),
        (
            [make_knowledge_base("a"), make_knowledge_base("b")],
            "2 KnowledgeBases (a, b) are searched and in step with their sources.",
        ),
        (
            [make_knowledge_base(f"a{n}") for n in range(7)],
            "7 KnowledgeBases (a0, a1, a2, a3, a4, …) are searched and in step with their sources.",
        ),
    ],
)
def test_knowledge_bases_that_are_well_share_a_line(knowledge_bases: list[Json], says: str) -> None:
    (found,) = judge(*knowledge_bases)
    assert (found.check, found.state, found.says) == (Check.KNOWLEDGE, State.OK, says)


@pytest.mark.parametrize(
    ("fields", "state", "says", "command"),
    [
        (
            {"synced": ("False", "SyncFailed", "It would cost too much.")},
            State.WARNING,
            "is searched, but may be behind its sources: It would cost too much.",
            SYNC,
        ),
        ({"synced": ("False", "Syncing", "A sync is under way.")}, State.SKIPPED, "is searched meanwhile: A sync", ""),
        (
            {"ready": ("False", "SyncFailed", "It would cost too much."), "synced": ("False", "SyncFailed", "")},
            State.PROBLEM,
            "is not as its spec says: It would cost too much.",
            SYNC,
        ),
        (
            {"ready": ("False", "Syncing", "The first sync is under way."), "synced": ("False", "Syncing", "")},
            State.PROBLEM,
            "cannot be searched yet: The first sync is under way.",
            "kubectl -n acme logs -l syntera.io/knowledge-base=handbook --tail=50",
        ),
        (
            {"ready": ("False", "EndpointNotFound", "There is no endpoint 'x'."), "activeIndex": 1},
            State.PROBLEM,
            "is not as its spec says: There is no endpoint 'x'.",
            "kubectl -n acme edit kb handbook",
        ),
        ({"ready": ("False", "Suspended", "Suspended.")}, State.SKIPPED, "waits for its Tenant: Suspended.", ""),
        ({"generation": 2}, State.PROBLEM, "has not judged the present spec", LOGS),
        ({"observed": 0, "ready": ("Unknown", "NotObserved", "")}, State.PROBLEM, "has not judged", LOGS),
        (
            {"deleted": "2026-01-01T00:00:00Z", "ready": ("False", "Deleting", "A Job erases it.")},
            State.SKIPPED,
            "is being deleted: A Job erases it.",
            "",
        ),
    ],
)
def test_knowledge_base_that_is_not_well_is_told(fields: dict[str, Any], state: State, says: str, command: str) -> None:
    well, found = judge(make_knowledge_base("other"), make_knowledge_base(**fields))
    assert well.state is State.OK
    assert (found.state, found.subject, found.command) == (state, "knowledgebase/handbook", command)
    assert says in found.says


def test_pod_of_a_sync_that_cannot_start_is_told_with_its_knowledge_base() -> None:
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}}
    pods = [make_pod("kb-1", ready=False, container=waiting), make_pod("kb-2", ready=False, container=waiting)]
    pods[0]["metadata"]["labels"] = {names.KNOWLEDGE_BASE_LABEL: "handbook"}
    pods[1]["metadata"]["labels"] = {names.KNOWLEDGE_BASE_LABEL: "another"}
    failed: dict[str, Any] = {
        "synced": ("False", "Syncing", ""),
        "ready": ("False", "Syncing", "The first sync is under way."),
    }

    _, trouble = judge(make_knowledge_base(**failed), pods=pods)

    assert (trouble.check, trouble.state, trouble.subject) == (Check.KNOWLEDGE, State.PROBLEM, "pod/kb-1")
    assert "image.ingestion" in trouble.do


def test_pod_of_a_sync_that_has_ended_is_no_trouble() -> None:
    ended = make_pod("kb-1", ready=False, phase="Failed")
    ended["metadata"]["labels"] = {names.KNOWLEDGE_BASE_LABEL: "handbook"}

    assert len(judge(make_knowledge_base(synced=("False", "SyncFailed", "")), pods=[ended])) == 1


def test_tenant_without_knowledge_bases_is_not_worth_a_word() -> None:
    assert judge() == []


def test_knowledge_bases_that_may_not_be_seen_are_told() -> None:
    (found,) = judge_knowledge(Hidden("list KnowledgeBases"), [], [], logs=LOGS, now=NOW)
    assert found.state is State.FORBIDDEN


def test_knowledge_base_is_ready_where_it_is_searched_and_synced() -> None:
    assert is_knowledge_base_ready(make_knowledge_base())
    assert not is_knowledge_base_ready(make_knowledge_base(synced=("False", "SyncFailed", "")))
    assert not is_knowledge_base_ready(make_knowledge_base(generation=2))
