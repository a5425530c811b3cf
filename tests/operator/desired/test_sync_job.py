"""The Jobs of KnowledgeBases: their content by golden file, and that each reason has a name of its own."""

from uuid import UUID

import pytest

from syntera_crds.contract import names
from syntera_crds.contract.agent_config import SecretKey
from syntera_operator.desired.deployment import Image
from syntera_operator.desired.metadata import Scope
from syntera_operator.desired.sync_job import (
    SyncPods,
    build_cron_job,
    build_erase_job,
    build_ingestion_selector,
    build_sync_job,
    cron_job_name,
    erase_job_name,
    sync_job_name,
)
from tests.support.golden import Golden

LONG = "a" * 63
PODS = SyncPods(
    tenant_id=UUID("01900000-0000-7000-8000-000000000001"),
    knowledge_base="handbook",
    image=Image("registry.example/syntera-ingestion:1", "IfNotPresent", ("registry",)),
    config_maps=("policies", "prices.v2"),
    secrets=frozenset(
        {
            SecretKey(name="git", key="username"),
            SecretKey(name="git", key="password"),
            SecretKey(name="openai", key="api-key"),
        }
    ),
)
BARE = SyncPods(tenant_id=PODS.tenant_id, knowledge_base="handbook", image=Image("ingestion:1", "Always"))


def test_sync_job(scope: Scope, golden: Golden) -> None:
    golden.check_manifests(
        "desired/sync-job.yaml", build_sync_job(scope, PODS, name="kb-handbook-1", trigger="request")
    )


def test_cron_job(scope: Scope, golden: Golden) -> None:
    built = build_cron_job(scope, PODS, cron="0 3 * * *", time_zone="Europe/Vienna", is_suspended=True)
    golden.check_manifests("desired/sync-cron-job.yaml", built)


def test_erase_job(scope: Scope, golden: Golden) -> None:
    golden.check_manifests("desired/erase-job.yaml", build_erase_job(scope, BARE, name="kb-erase-handbook-1"))


def test_pods_have_the_labels_that_the_network_policy_selects(scope: Scope) -> None:
    cron_job = build_cron_job(scope, BARE, cron="@daily", time_zone="Etc/UTC", is_suspended=False)
    job = build_sync_job(scope, BARE, name="one", trigger="configuration")
    for template in (job["spec"]["template"], cron_job["spec"]["jobTemplate"]["spec"]["template"]):
        assert build_ingestion_selector(scope).items() <= template["metadata"]["labels"].items()


def test_jobs_of_a_schedule_are_found_like_all_others(scope: Scope) -> None:
    """The CronJob's controller gives them these labels, and the operator's watch selects by them."""
    cron_job = build_cron_job(scope, BARE, cron="@daily", time_zone="Etc/UTC", is_suspended=False)
    labels = cron_job["spec"]["jobTemplate"]["metadata"]["labels"]
    assert labels[names.MANAGED_BY_LABEL] == names.MANAGED_BY
    assert labels[names.KNOWLEDGE_BASE_LABEL] == "handbook"


def test_no_pod_gets_a_token(scope: Scope) -> None:
    spec = build_sync_job(scope, PODS, name="one", trigger="request")["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert "serviceAccountToken" not in str(spec["volumes"])


def test_name_of_a_job_follows_from_its_reason() -> None:
    assert sync_job_name("handbook", ["uid", 1, None]) == sync_job_name("handbook", ["uid", 1, None])
    reasons: tuple[tuple[str | int | None, ...], ...] = (("uid", 1), ("uid", 2), ("uid", None), ("uid", "1"))
    assert len({sync_job_name("handbook", reason) for reason in reasons}) == len(reasons)
    assert erase_job_name("handbook", "one") != erase_job_name("handbook", "other")


@pytest.mark.parametrize("other", ["a" * 62 + "b", "a" * 52, "a" * 49])
def test_names_are_short_and_tell_long_knowledge_bases_apart(other: str) -> None:
    """A CronJob's name has 52 characters at most, and Jobs' names become labels of pods."""
    for name_of in (cron_job_name, lambda name: sync_job_name(name, ["x"]), lambda name: erase_job_name(name, "uid")):
        assert len(name_of(LONG)) <= 52
        assert name_of(LONG) != name_of(other)
        assert not name_of(other).endswith("-")
