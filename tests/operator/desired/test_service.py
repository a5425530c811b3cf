"""Service, disruption budget and autoscaler."""

from syntera_crds.v1alpha1.tenant import Autoscaling
from syntera_operator.desired.autoscaler import build_autoscaler
from syntera_operator.desired.metadata import Scope
from syntera_operator.desired.service import build_disruption_budget, build_service
from tests.support.golden import Golden


def test_service_and_budget(scope: Scope, golden: Golden) -> None:
    golden.check_manifests("desired/service.yaml", build_service(scope), build_disruption_budget(scope))


def test_autoscaler(scope: Scope, golden: Golden) -> None:
    golden.check_manifests("desired/autoscaler.yaml", build_autoscaler(scope, Autoscaling(min=1, max=5)))
