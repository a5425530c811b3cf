"""The chart as it stands on a real API server, and its operator as the API server sees it."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import kubernetes

from syntera_kube.resources import NAMESPACES, ROLE_BINDINGS, SERVICE_ACCOUNTS, Resource
from tests.support.apiserver import ApiRefused, RunningApiServer, unique_name

from .chart import CHART, Chart, Manifest, Values

TENANTS = Resource("syntera.io", "v1alpha1", "tenants", "Tenant", namespaced=False)
AGENTS = Resource("syntera.io", "v1alpha1", "agents", "Agent")
KNOWLEDGE_BASES = Resource("syntera.io", "v1alpha1", "knowledgebases", "KnowledgeBase")
SYSTEM_MASTERS = "system:masters"
DRY_RUN = {"dryRun": "All"}
MERGE_PATCH = "application/merge-patch+json"
_DEADLINE_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Installed:
    """One release of the chart on an API server. No pod of it runs."""

    server: RunningApiServer
    release: str
    namespace: str

    @property
    def account(self) -> str:
        """The operator's ServiceAccount, Role, ClusterRole and Deployment have this name."""
        return f"{self.release}-operator"

    @property
    def tenant_role(self) -> str:
        """The ClusterRole that the operator binds itself to."""
        return f"{self.release}-tenant-namespace"

    @property
    def user(self) -> str:
        """The operator's name as a user."""
        return f"system:serviceaccount:{self.namespace}:{self.account}"

    @property
    def groups(self) -> list[str]:
        """The operator's groups, as of any ServiceAccount."""
        return ["system:serviceaccounts", f"system:serviceaccounts:{self.namespace}", "system:authenticated"]

    @contextlib.contextmanager
    def operator(self, *groups: str) -> Iterator[RunningApiServer]:
        """The API server as the operator sees it, or as it would with further groups."""
        kubeconfig = self.server.kubeconfig_for(self.user, *self.groups, *groups)
        client = kubernetes.config.new_client_from_config(  # type: ignore[no-untyped-call]  # its author left it untyped
            config_file=str(kubeconfig)
        )
        with client:
            yield RunningApiServer(self.server.plane, client)

    def tenant_namespace(self, *, made: bool = True) -> str:
        """A namespace of a tenant that the operator has bound itself in; made by it, or else handed to it."""
        name = unique_name("tenant")
        metadata: Manifest = {"name": name, "labels": {"syntera.io/tenant": name}}
        if made:
            metadata["annotations"] = {"syntera.io/made-for": "some-uid"}
        self.server.send("POST", NAMESPACES.path(), {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        self.server.send("POST", ROLE_BINDINGS.path(namespace=name), self.own_binding(name))
        return name

    def own_binding(self, namespace: str) -> Manifest:
        """The RoleBinding by which the operator gets its rights in a tenant's namespace."""
        subject = {"kind": "ServiceAccount", "name": self.account, "namespace": self.namespace}
        return role_binding("syntera-operator", namespace, ("ClusterRole", self.tenant_role), subject)


def role_binding(name: str, namespace: str, role: tuple[str, str], *subjects: Manifest) -> Manifest:
    """A RoleBinding to a role of that kind and name."""
    return {
        "apiVersion": ROLE_BINDINGS.api_version,
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"apiGroup": ROLE_BINDINGS.group, "kind": role[0], "name": role[1]},
        "subjects": list(subjects),
    }


def tenant_manifest(name: str, **spec: object) -> Manifest:
    """A Tenant."""
    return {"apiVersion": TENANTS.api_version, "kind": "Tenant", "metadata": {"name": name}, "spec": spec}


def agent_manifest(name: str, namespace: str) -> Manifest:
    """An Agent."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": AGENTS.api_version, "kind": "Agent", "metadata": metadata, "spec": {"instructions": "Help."}}


def knowledge_base_manifest(name: str, namespace: str) -> Manifest:
    """A KnowledgeBase."""
    metadata = {"name": name, "namespace": namespace}
    spec = {"sources": [{"name": "uploads", "upload": {}}]}
    return {"apiVersion": KNOWLEDGE_BASES.api_version, "kind": "KnowledgeBase", "metadata": metadata, "spec": spec}


def install(chart: Chart, server: RunningApiServer, values: Values) -> Installed:
    """Install the chart under a name of its own."""
    release, namespace = unique_name("syntera"), unique_name("system")
    chart.run(
        "install", release, CHART, "--kubeconfig", server.kubeconfig, "--namespace", namespace, "--create-namespace",
        "--values", "-",
        stdin=json.dumps(values),
    )  # fmt: skip
    return Installed(server, release, namespace)


def token_of(server: RunningApiServer, namespace: str, account: str) -> str:
    """A token of a ServiceAccount, as a pod has one."""
    request: dict[str, Any] = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = server.send("POST", SERVICE_ACCOUNTS.path(namespace=namespace, name=account, subresource="token"), request)
    token: str = answer["status"]["token"]
    return token


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody might want to do."""

    verb: str
    resource: str
    """As in a rule: `deployments.apps`, `serviceaccounts/token`."""
    namespace: str = ""
    name: str = ""


def is_allowed(server: RunningApiServer, user: str, groups: Sequence[str], request: Request) -> bool:
    """Whether roles let a user of these groups do it."""
    resource, _, subresource = request.resource.partition("/")
    plural, _, group = resource.partition(".")
    review: dict[str, Any] = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": user,
            "groups": list(groups),
            "resourceAttributes": {
                "verb": request.verb,
                "group": group,
                "resource": plural,
                "subresource": subresource,
                "namespace": request.namespace,
                "name": request.name,
            },
        },
    }
    answer = server.send("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    allowed: bool = answer["status"]["allowed"]
    return allowed


def check_allowed(server: RunningApiServer, user: str, request: Request) -> None:
    """The same, for a user without groups of his own, as an assertion.

    Raises:
        AssertionError: they do not.
    """
    assert is_allowed(server, user, ["system:authenticated"], request)


def eventually(attempt: Callable[[], object]) -> None:
    """Repeat what the API server refuses, or what is not so yet, until it has seen the newest objects.

    Raises:
        ApiRefused: it still refuses after some seconds.
        AssertionError: it is still not so.
    """
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while True:
        try:
            attempt()
            return
        except (ApiRefused, AssertionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def eventually_refused(attempt: Callable[[], object], by: str) -> None:
    """Repeat a dry run until the API server refuses it for the reason `by`.

    Raises:
        AssertionError: it does not, after some seconds.
    """

    def check() -> None:
        said = "nothing was refused"
        try:
            attempt()
        except ApiRefused as exc:
            said = str(exc)
        assert by in said

    eventually(check)
