"""Every ServiceAccount of an installation with two tenants, against everything that the API server serves.

The table of what is allowed is `tests/data/charts/access.txt`; whatever is not in it is refused. A new line there is a new
right, and wants a reason.
"""

from collections import defaultdict
from functools import partial

import pytest
import yaml

from syntera_crds.contract.names import LEASE_NAME
from syntera_kube.resources import LEASES, NAMESPACES, ROLE_BINDINGS, ROLES, SECRETS, SERVICE_ACCOUNTS
from tests.support.apiserver import ApiRefused, RunningApiServer, unique_name
from tests.support.golden import Golden
from tests.support.make import make_endpoint

from .access import NAMED, Account, Cell, Served, ask, ask_urls, describe, list_cells, list_served
from .chart import CHART, OLDEST_KUBERNETES, Chart
from .installed import Installed, eventually, install
from .provided import provide

pytestmark = [pytest.mark.api, pytest.mark.long]

PATHS = {resource.kind: resource for resource in (SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS)}
TENANT_NAMES = ("acme", "beta")


@pytest.fixture(scope="module")
def installed(chart: Chart, api_server: RunningApiServer) -> Installed:
    """A release of this module's own, since what an operator at work has made is added to it."""
    return install(chart, api_server, {"crds": {"enabled": False}})


@pytest.fixture(scope="module")
def tenants(installed: Installed) -> dict[str, str]:
    """Namespaces of two tenants by the tenants' names, each with a Secret that may be used and one that may not."""
    namespaces = {name: unique_name(name) for name in TENANT_NAMES}
    for namespace in namespaces.values():
        metadata = {"name": namespace, "labels": {"syntera.io/tenant": namespace}}
        installed.server.send(
            "POST", NAMESPACES.path(), {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        )
        for secret, labels in (("openai", {"syntera.io/usable": "true"}), ("private", {})):
            body = {"metadata": {"name": secret, "labels": labels}, "stringData": {"api-key": "x"}}
            installed.server.send("POST", SECRETS.path(namespace=namespace), body)
        endpoint = make_endpoint(apiKeySecretRef={"name": "openai", "key": "api-key"})
        provide(installed, namespace, namespace=namespace, models=[endpoint])
    return namespaces


@pytest.fixture(scope="module")
def accounts(installed: Installed, tenants: dict[str, str], chart: Chart) -> list[Account]:
    """All ServiceAccounts of the release's and the tenants' namespaces, that of `helm test` included.

    What they are given rights on by name is there too.
    """
    hook = chart.run(
        "template", installed.release, CHART, "--namespace", installed.namespace, "--kube-version", OLDEST_KUBERNETES,
        "--show-only", "templates/tests/installation.yaml",
    )  # fmt: skip
    for manifest in yaml.safe_load_all(hook):
        if manifest["kind"] in PATHS:
            path = PATHS[manifest["kind"]].path(namespace=installed.namespace)
            installed.server.send("POST", path, manifest)
    lease = {"metadata": {"name": LEASE_NAME}}
    installed.server.send("POST", LEASES.path(namespace=installed.namespace), lease)
    hook_account = Account(installed.namespace, f"{installed.release}-test")
    cell = Cell(installed.namespace, "leases.coordination.k8s.io", LEASE_NAME, "get")

    def check_seen() -> None:
        # The newest role; the API server has then seen the others too.
        assert ask(installed.server, hook_account, [cell])

    eventually(check_seen)
    namespaces = (installed.namespace, *tenants.values())
    for namespace in namespaces:
        # A controller makes this one.
        default = SERVICE_ACCOUNTS.path(namespace=namespace, name="default")
        eventually(partial(installed.server.send, "GET", default))
    return [
        Account(namespace, found["metadata"]["name"])
        for namespace in namespaces
        for found in installed.server.send("GET", SERVICE_ACCOUNTS.path(namespace=namespace))["items"]
    ]


def objects_of(installed: Installed, served: list[Served], places: list[str]) -> dict[tuple[str, str], list[str]]:
    """Names of what there is in each place, of the resources that rights could name, and one of something that is not."""
    found: defaultdict[tuple[str, str], list[str]] = defaultdict(lambda: ["no-such-object"])
    for resource in (one for one in served if one.name in NAMED):
        plural, _, group = resource.name.partition("/")[0].partition(".")
        root = f"/apis/{group}/v1" if group else "/api/v1"
        for place in places if resource.is_namespaced else [""]:
            path = f"{root}/namespaces/{place}/{plural}" if place else f"{root}/{plural}"
            items = installed.server.send("GET", path)["items"]
            # Kubernetes' own roles have many names; a right on one of them is asked for by "cluster-admin" and the like.
            named = [one["metadata"]["name"] for one in items if not one["metadata"]["name"].startswith("system:")]
            found[place, resource.name] += named
    return found


def titles_of(account: Account, installed: Installed, tenants: dict[str, str]) -> dict[str, str]:
    """The places to try, and what they are to this account."""
    titles = {account.namespace: "in its own namespace"}
    for name, namespace in tenants.items():
        titles.setdefault(namespace, f"in the namespace of tenant {name}")
    titles.setdefault(installed.namespace, "in the operator's namespace")
    return titles | {"kube-system": "in kube-system"}


def test_accounts_may_do_what_the_table_says_and_nothing_else(
    installed: Installed, tenants: dict[str, str], accounts: list[Account], golden: Golden
) -> None:
    served = list_served(installed.server)
    objects = objects_of(installed, served, [installed.namespace, *tenants.values(), "kube-system"])
    lines = []
    for account in accounts:
        titles = titles_of(account, installed, tenants)
        allowed = ask(installed.server, account, list_cells(served, list(titles), objects))
        lines += [f"{account.namespace}/{account.name}", *describe(allowed, titles)]
        lines += ["  urls:", f"    get {' '.join(ask_urls(installed.server, account))}", ""]
    text = "\n".join(lines)
    aliases = {installed.namespace: "syntera-system", installed.release: "syntera"}
    for known, alias in {**aliases, **{namespace: name for name, namespace in tenants.items()}}.items():
        text = text.replace(known, alias)

    golden.check_text("charts/access.txt", text)


def test_matrix_has_everything_that_matters(installed: Installed) -> None:
    """That the table is short because little is allowed, not because little was asked."""
    served = {resource.name for resource in list_served(installed.server)}

    assert served >= {
        "pods", "pods/exec", "pods/log", "pods/ephemeralcontainers", "pods/portforward", "pods/eviction", "secrets", "nodes/proxy",
        "serviceaccounts/token", "deployments.apps/scale", "namespaces/finalize", "tenants.syntera.io/status",
        "agents.syntera.io", "clusterroles.rbac.authorization.k8s.io", "customresourcedefinitions.apiextensions.k8s.io",
        "validatingadmissionpolicies.admissionregistration.k8s.io", "certificatesigningrequests.certificates.k8s.io/approval",
    }  # fmt: skip
    assert len(served) > 100


def test_matrix_shows_a_right_that_somebody_adds(installed: Installed, tenants: dict[str, str]) -> None:
    namespace = tenants["acme"]
    account = Account(namespace, "syntera-runtime")
    cell = Cell(namespace, "secrets", "private", "get")
    assert ask(installed.server, account, [cell]) == set()
    role = {
        "metadata": {"name": "leak"},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["private"], "verbs": ["get"]}],
    }
    binding = {
        "metadata": {"name": "leak"},
        "roleRef": {"apiGroup": ROLES.group, "kind": "Role", "name": "leak"},
        "subjects": [{"kind": "ServiceAccount", "name": account.name, "namespace": namespace}],
    }
    try:
        installed.server.send("POST", ROLES.path(namespace=namespace), role)
        installed.server.send("POST", ROLE_BINDINGS.path(namespace=namespace), binding)

        def check() -> None:
            assert ask(installed.server, account, [cell, cell._replace(name="openai")]) >= {cell}

        eventually(check)
    finally:
        for resource in (ROLE_BINDINGS, ROLES):
            try:
                installed.server.send("DELETE", resource.path(namespace=namespace, name="leak"))
            except ApiRefused as exc:
                assert exc.status == 404  # noqa: PT017 - it was never made


def test_secrets_named_by_nobody_stay_closed_to_the_runtime(installed: Installed, tenants: dict[str, str]) -> None:
    account = Account(tenants["acme"], "syntera-runtime")
    cells = [
        Cell(namespace, "secrets", name, verb)
        for namespace in tenants.values()
        for name in ("private", "syntera-stores", "syntera-signing", "syntera-admin", "openai")
        for verb in ("get", "list", "watch")
    ]

    allowed = ask(installed.server, account, cells)

    assert allowed == {Cell(tenants["acme"], "secrets", "openai", verb) for verb in ("get", "list", "watch")}
