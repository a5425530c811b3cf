"""One site for all faults: an API server with our kinds, and stores. Each test brings its own operators."""

import contextlib
from collections.abc import Callable, Iterator

import pytest

from syntera_crds.contract import names
from syntera_kube.resources import NAMESPACES
from syntera_operator.manifest import TENANTS
from tests.support.apiserver import ApiRefused
from tests.support.fault_proxy import FaultProxy
from tests.support.operator_site import Site, empty_site
from tests.support.postgresql import Database
from tests.support.redis_server import RedisServer


@pytest.fixture(scope="package")
def shared_site(database: Database, redis_server: RedisServer) -> Iterator[Site]:
    """Started once."""
    with empty_site(database, redis_server) as site:
        site.server.install_crds()
        # The session's database has the schema, and migrations cost as much as the rest of a start.
        site.settings["SYNTERA_MIGRATE_ON_START"] = "false"
        yield site


@pytest.fixture
def site(shared_site: Site) -> Iterator[Site]:
    """Without operators, Tenants and Agents at the beginning; nothing of a test is left to the next one's operators."""
    yield shared_site
    shared_site.end_all()
    remove_everything(shared_site)


def remove_everything(site: Site) -> None:
    """Remove Tenants and their namespaces, without asking an operator."""
    for kind, selector in ((TENANTS, ""), (NAMESPACES, names.TENANT_LABEL)):
        for name in site.list_names(kind, labelSelector=selector):
            path = kind.path(name=name)
            with contextlib.suppress(ApiRefused):  # it is on its way out
                site.merge(path, {"metadata": {"finalizers": None}})
                site.delete(path)


ProxyOf = Callable[[str], FaultProxy]


@pytest.fixture
def proxy_of(site: Site) -> Iterator[ProxyOf]:
    """Makes the proxy by which an operator of some name reaches the API server."""
    with contextlib.ExitStack() as stack:
        yield lambda name: stack.enter_context(FaultProxy(site.kubeconfig_of(name)))
