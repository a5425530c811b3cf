"""Everything that an account may do on an API server: each resource that it serves, each verb, each place, asked one by one.

Nothing is read from roles: the API server's own authorizer answers, so that a right counts wherever it comes from.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from syntera_kube import ClusterConfig
from syntera_kube.transport import Request, Transport
from tests.support.apiserver import RunningApiServer

_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_AT_ONCE = 24

VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
FURTHER_VERBS = {
    "clusterroles.rbac.authorization.k8s.io": ("bind", "escalate"),
    "roles.rbac.authorization.k8s.io": ("bind", "escalate"),
    "serviceaccounts": ("impersonate",),
}
"""Verbs of the authorizer's own, beside those of HTTP."""
UNSERVED = {
    "agents.syntera.io/finalizers": ("update",),
    "knowledgebases.syntera.io/finalizers": ("update",),
    "tenants.syntera.io/finalizers": ("update",),
    "users": ("impersonate",),
    "groups": ("impersonate",),
    "uids.authentication.k8s.io": ("impersonate",),
    "userextras.authentication.k8s.io": ("impersonate",),
    "signers.certificates.k8s.io": ("approve", "sign", "attest"),
}
"""What rights are given on although no such object is served."""
URLS = (
    "/", "/api", "/apis", "/configz", "/debug/pprof/profile", "/healthz", "/livez", "/logs", "/metrics", "/openapi/v3",
    "/openid/v1/jwks", "/readyz", "/version", "/.well-known/openid-configuration",
)  # fmt: skip
NAMED = (
    "clusterroles.rbac.authorization.k8s.io", "configmaps", "leases.coordination.k8s.io", "namespaces",
    "roles.rbac.authorization.k8s.io", "secrets", "serviceaccounts", "serviceaccounts/token",
)  # fmt: skip
"""Resources of which each object is asked for by its name too, because a right may be given on names alone."""


class Served(NamedTuple):
    """A resource or a part of one, as roles spell it: `deployments.apps`, `serviceaccounts/token`."""

    name: str
    is_namespaced: bool

    @property
    def verbs(self) -> tuple[str, ...]:
        """What can be asked of it."""
        return VERBS + FURTHER_VERBS.get(self.name, ())


class Cell(NamedTuple):
    """One question: may it do this, here, to that object?"""

    place: str
    """A namespace; empty: everywhere."""
    resource: str
    name: str
    verb: str


@dataclass(frozen=True, slots=True)
class Account:
    """A ServiceAccount."""

    namespace: str
    name: str

    @property
    def identity(self) -> dict[str, Any]:
        """As the API server sees it."""
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{self.namespace}", "system:authenticated"]
        return {"user": f"system:serviceaccount:{self.namespace}:{self.name}", "groups": groups}


def list_served(server: RunningApiServer) -> list[Served]:
    """Everything that the API server's discovery tells of, each once, whatever its versions."""
    found = {}
    for root in ("/api", "/apis"):
        for group in server.send("GET", root, accept=_DISCOVERY)["items"]:
            suffix = f".{group['metadata']['name']}" if group["metadata"].get("name") else ""
            for version in group["versions"]:
                for resource in version.get("resources") or ():
                    name = f"{resource['resource']}{suffix}"
                    is_namespaced = resource["scope"] == "Namespaced"
                    for part in ("", *(f"/{one['subresource']}" for one in resource.get("subresources") or ())):
                        found[name + part] = Served(name + part, is_namespaced)
    return sorted(found.values())


def list_cells(
    served: Iterable[Served], places: Sequence[str], objects: Mapping[tuple[str, str], Sequence[str]]
) -> list[Cell]:
    """All questions. `objects` names what there is of a resource in a place."""
    cells = []
    for resource in served:
        for place in ("", *places) if resource.is_namespaced else ("",):
            for name in ("", *objects.get((place, resource.name), ())):
                cells += [Cell(place, resource.name, name, verb) for verb in resource.verbs]
    cells += [Cell("", resource, "", verb) for resource, verbs in UNSERVED.items() for verb in verbs]
    return cells


def ask(server: RunningApiServer, account: Account, cells: Iterable[Cell]) -> set[Cell]:
    """The questions that are answered with yes."""
    return asyncio.run(_ask(server, account, list(cells)))


def ask_urls(server: RunningApiServer, account: Account) -> list[str]:
    """The URLs beside all resources that the account may read."""
    return asyncio.run(_ask_urls(server, account))


def describe(allowed: set[Cell], places: Mapping[str, str]) -> Iterator[str]:
    """The answers as lines, each place with what is allowed there beyond everywhere; `places` gives places their titles."""
    everywhere = {cell for cell in allowed if not cell.place}
    for place, title in {"": "everywhere", **places}.items():
        here = {cell for cell in allowed if cell.place == place}
        further = {cell for cell in here if not place or cell._replace(place="") not in everywhere}
        yield f"  {title}:"
        verbs = defaultdict(list)
        for _, resource, name, verb in sorted(further):
            # What may be done to all needs not be said of one.
            if not name or Cell(place, resource, "", verb) not in here:
                verbs[resource, name].append(verb)
        for (resource, name), given in verbs.items():
            yield f"    {f'{resource} {name}'.strip()}: {' '.join(sorted(given, key=_position))}"
        if not verbs:
            yield "    nothing" + (" more" if place else "")


def _position(verb: str) -> tuple[int, str]:
    return (VERBS.index(verb) if verb in VERBS else len(VERBS), verb)


async def _ask(server: RunningApiServer, account: Account, cells: list[Cell]) -> set[Cell]:
    questions = [{"resourceAttributes": _attributes(cell)} for cell in cells]
    async with _asking(server, account) as answers_to:
        return {cell for cell, yes in zip(cells, await answers_to(questions), strict=True) if yes}


async def _ask_urls(server: RunningApiServer, account: Account) -> list[str]:
    questions = [{"nonResourceAttributes": {"path": url, "verb": "get"}} for url in URLS]
    async with _asking(server, account) as answers_to:
        return [url for url, yes in zip(URLS, await answers_to(questions), strict=True) if yes]


@asynccontextmanager
async def _asking(server: RunningApiServer, account: Account) -> AsyncIterator[Any]:
    turns = asyncio.Semaphore(_AT_ONCE)
    async with Transport(ClusterConfig.from_kubeconfig(server.kubeconfig), component="syntera-tests") as transport:

        async def is_allowed(question: dict[str, Any]) -> bool:
            review = {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": {**account.identity, **question},
            }
            async with turns:
                answer = await transport.send(Request("POST", _REVIEWS, body=review))
            return bool(answer["status"]["allowed"])

        async def answers_to(questions: list[dict[str, Any]]) -> list[bool]:
            return await asyncio.gather(*map(is_allowed, questions))

        yield answers_to


def _attributes(cell: Cell) -> dict[str, str]:
    resource, _, subresource = cell.resource.partition("/")
    plural, _, group = resource.partition(".")
    # The API server takes a request about one Namespace for one in that namespace.
    namespace = cell.name if cell.resource == "namespaces" else cell.place
    return {
        "verb": cell.verb,
        "group": group,
        "resource": plural,
        "subresource": subresource,
        "namespace": namespace,
        "name": cell.name,
    }
