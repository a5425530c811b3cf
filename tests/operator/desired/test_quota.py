"""Quota and default limits."""

from syntera_operator.desired.metadata import Scope
from syntera_operator.desired.quota import build_limit_range, build_quota
from tests.support.golden import Golden


def test_quota(scope: Scope, golden: Golden) -> None:
    hard: dict[str, int | str] = {"pods": 50, "requests.cpu": "10", "limits.memory": "1024Mi"}
    golden.check_manifests("desired/quota.yaml", build_quota(scope, hard), build_limit_range(scope, hard))


def test_limit_range_sets_what_the_quota_counts() -> None:
    hard = {"limits.cpu": "4", "limits.ephemeral-storage": "10Gi", "cpu": "2"}
    (limits,) = build_limit_range(Scope("acme", "acme"), hard)["spec"]["limits"]
    assert limits["default"] == {"cpu": "1", "memory": "512Mi", "ephemeral-storage": "1Gi"}
    assert limits["defaultRequest"] == {"cpu": "100m", "memory": "128Mi"}
