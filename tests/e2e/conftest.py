"""One installation for all end-to-end tests; each test makes tenants of its own.

With a cluster that was up before, the tests leave it up; else they take down what they brought up.
"""

from collections.abc import Callable, Iterator

import pytest

from syntera_dev.demo.installation import Installation
from syntera_dev.demo.setup import is_up, prepare, tear_down
from tests.support.e2e import TenantUnderTest, make_tenant

CLUSTER_NAME = "e2e"
"""Not the demo's, so that neither disturbs the other."""


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    """Syntera on a cluster with pods, from this checkout's sources."""
    was_up = is_up(CLUSTER_NAME)
    try:
        installed = prepare(CLUSTER_NAME)
        installed.install()
        yield installed
    finally:  # also of what a set-up that was cut off had begun: the next run would take it for somebody else's
        if not was_up:
            tear_down(CLUSTER_NAME)


@pytest.fixture
def new_tenant(installation: Installation) -> Iterator[Callable[..., TenantUnderTest]]:
    """Makes tenants that are Ready, and erases them at the end of the test."""
    made: list[TenantUnderTest] = []

    def make(name: str, **spec: object) -> TenantUnderTest:
        made.append(make_tenant(installation.kubectl, name, **spec))
        return made[-1]

    yield make
    for tenant in made:
        tenant.erase()
