"""Everything that a cluster tells whoever may look, as text to be searched: objects of all kinds but Secrets, and descriptions."""

from collections.abc import Iterable

from syntera_dev.demo.kubectl import Kubectl

from .secret_search import Haystack

_SECRETS = "secrets"
"""Where secrets belong."""


def add_objects(haystack: Haystack, kubectl: Kubectl) -> None:
    """All objects of all kinds, Secrets excepted: events, ConfigMaps, specs and statuses, Leases, our own kinds."""
    for kind in _list_kinds(kubectl):
        if kind != _SECRETS:
            said = kubectl("get", kind, "--all-namespaces", "--ignore-not-found", "--show-managed-fields", "-o", "json")
            haystack.add_if_any(f"kubectl get {kind}", said)


def add_descriptions(haystack: Haystack, kubectl: Kubectl, namespaces: Iterable[str]) -> None:
    """What `kubectl describe` says of everything in some namespaces, Secrets included, and of all Tenants."""
    kinds = [kind for kind in _list_kinds(kubectl, "--namespaced") if not kind.startswith("events")]
    for namespace in namespaces:
        said = kubectl("describe", ",".join(kinds), "--namespace", namespace, timeout_seconds=120)
        haystack.add(f"kubectl describe, namespace {namespace}", said)
    haystack.add_if_any("kubectl describe tenants", kubectl("describe", "tenants"))


def _list_kinds(kubectl: Kubectl, *options: str) -> list[str]:
    said = kubectl("api-resources", "--verbs=list,get", "--output=name", *options)
    return sorted(said.split())
