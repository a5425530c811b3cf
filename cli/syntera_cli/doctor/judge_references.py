"""What a Tenant refers to, and the credentials that the operator keeps for it: there, complete, allowed? Pure.

Of Secrets and ConfigMaps it knows names, labels and keys, never a value.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from syntera_crds.contract import names
from syntera_crds.v1alpha1.files import ACCESS_KEY_ID, SECRET_ACCESS_KEY

from .findings import Check, Finding, forbidden, ok, problem
from .judge_tenant import namespace_name
from .manifests import Hidden, Manifest, labels_of

OWN_SECRETS: Mapping[str, tuple[str, ...]] = {
    names.STORES_SECRET: (names.POSTGRESQL_URL_KEY, names.REDIS_URL_KEY),
    names.ADMIN_SECRET: (names.ADMIN_API_KEY_KEY,),
    names.SIGNING_SECRET: (names.SIGNING_KEY_KEY,),
}
"""The Secrets that the operator makes, with the entries that a runtime needs; nobody may refer to them."""


@dataclass(frozen=True, slots=True)
class Outline:
    """A Secret or ConfigMap without its values."""

    labels: Mapping[str, str]
    keys: frozenset[str]


SeenOutline = Outline | Hidden | None


@dataclass(frozen=True, slots=True)
class Reference:
    """A place in a Tenant's spec that names an entry of another object."""

    field: str
    kind: Literal["Secret", "ConfigMap"]
    name: str
    key: str
    """Empty: the object as a whole."""


def outline(manifest: Manifest) -> Outline:
    """The object without its values."""
    return Outline(
        labels_of(manifest), frozenset(manifest.get("data") or {}) | frozenset(manifest.get("binaryData") or {})
    )


def list_references(tenant: Manifest) -> Iterator[Reference]:
    """Everything that the Tenant's spec refers to."""
    spec: Mapping[str, Any] = tenant.get("spec") or {}
    for index, endpoint in enumerate(spec.get("models") or ()):
        path = f"spec.models[{index}]"
        if ref := endpoint.get("apiKeySecretRef"):
            yield Reference(f"{path}.apiKeySecretRef", "Secret", ref["name"], ref["key"])
        for number, header in enumerate(endpoint.get("headers") or ()):
            if ref := header.get("secretKeyRef"):
                yield Reference(f"{path}.headers[{number}].secretKeyRef", "Secret", ref["name"], ref["key"])
        if ref := endpoint.get("caBundleConfigMapRef"):
            yield Reference(f"{path}.caBundleConfigMapRef", "ConfigMap", ref["name"], ref["key"])
    auth: Mapping[str, Any] = spec.get("auth") or {}
    for index, issuer in enumerate(auth.get("issuers") or ()):
        if ref := issuer.get("caBundleConfigMapRef"):
            yield Reference(f"spec.auth.issuers[{index}].caBundleConfigMapRef", "ConfigMap", ref["name"], ref["key"])
    if ref := (auth.get("challenge") or {}).get("secretKeyRef"):
        yield Reference("spec.auth.challenge.secretKeyRef", "Secret", ref["name"], ref["key"])
    if ref := ((spec.get("files") or {}).get("s3") or {}).get("credentialsSecretRef"):
        for key in (ACCESS_KEY_ID, SECRET_ACCESS_KEY):
            yield Reference("spec.files.s3.credentialsSecretRef", "Secret", ref["name"], key)
    vectors = (spec.get("stores") or {}).get("vectors") or {}
    if ref := (vectors.get("pinecone") or {}).get("apiKeySecretRef"):
        yield Reference("spec.stores.vectors.pinecone.apiKeySecretRef", "Secret", ref["name"], ref["key"])
    if name := (spec.get("exposure") or {}).get("tlsSecretName"):
        yield Reference("spec.exposure.tlsSecretName", "Secret", name, "")


def judge_references(tenant: Manifest, outlines: Mapping[tuple[str, str], SeenOutline]) -> Iterator[Finding]:
    """Whether each reference leads somewhere. `outlines` are what was found, by kind and name."""
    references = list(list_references(tenant))
    troubles: dict[tuple[str, str], Finding] = {}
    for reference in references:
        found = _judge(reference, outlines.get((reference.kind, reference.name)), namespace_name(tenant))
        if found is not None:
            # Many fields may name the same Secret; what is wrong with it is told once.
            troubles.setdefault((found.subject, found.says.removeprefix(f"{reference.field}: ")), found)
    yield from troubles.values()
    if not troubles:
        yield ok(Check.REFERENCES, _tell_all_found(len(references)))


def _tell_all_found(number: int) -> str:
    if number == 0:
        return "The Tenant refers to no Secret or ConfigMap."
    found = "The one reference" if number == 1 else f"Each of the {number} references"
    return f"{found} to Secrets and ConfigMaps leads somewhere."


def _judge(reference: Reference, found: SeenOutline, namespace: str) -> Finding | None:
    """What is wrong with a reference, None if nothing is."""
    subject = f"{reference.kind.lower()}/{reference.name}"
    if isinstance(found, Hidden):
        return forbidden(Check.REFERENCES, found.action, subject=subject)
    trouble = _find_trouble(reference, found, namespace)
    if trouble is None:
        return None
    says, do, command = trouble
    return problem(Check.REFERENCES, f"{reference.field}: {says}", do=do, command=command, subject=subject)


def _find_trouble(reference: Reference, found: Outline | None, namespace: str) -> tuple[str, str, str] | None:
    """What is, what to do, and the command for it."""
    kind, name, key = reference.kind, reference.name, reference.key
    if kind == "Secret" and name in OWN_SECRETS:
        return f"the Secret {name!r} is the operator's own and cannot be referred to.", "Name another one.", ""
    if found is None:
        return f"the {kind} {name!r} does not exist in {namespace!r}.", *_how_to_create(reference, namespace)
    if key and key not in found.keys:
        there = ", ".join(sorted(found.keys)) or "none"
        return f"the {kind} {name!r} has no entry {key!r}; its entries: {there}.", "Add it, or name another one.", ""
    if kind == "Secret" and key and found.labels.get(names.USABLE_LABEL) != "true":
        return (
            f"the Secret {name!r} may not be used: it lacks the label {names.USABLE_LABEL}=true.",
            "If it is yours, release it.",
            f"kubectl -n {namespace} label secret {name} {names.USABLE_LABEL}=true --overwrite",
        )
    return None


def _how_to_create(reference: Reference, namespace: str) -> tuple[str, str]:
    name, key = reference.name, reference.key
    if not key:
        return (
            "Create it from the host's certificate and key.",
            f"kubectl -n {namespace} create secret tls {name} --cert=FILE --key=FILE",
        )
    if reference.kind == "ConfigMap":
        return "Create it.", f"kubectl -n {namespace} create configmap {name} --from-file={key}=FILE"
    return (
        f"Create it and release it with the label {names.USABLE_LABEL}=true.",
        f"kubectl -n {namespace} create secret generic {name} --from-file={key}=FILE && "
        f"kubectl -n {namespace} label secret {name} {names.USABLE_LABEL}=true",
    )


_BY_THE_STORES = "The operator makes it as soon as the stores let it; what it says of them is told above."
_HOW_IT_COMES = {
    names.SIGNING_SECRET: "The operator makes it by itself; if it does not, what the Tenant says tells why."
}


def judge_credentials(tenant: Manifest, outlines: Mapping[tuple[str, str], SeenOutline]) -> Iterator[Finding]:
    """Whether the operator's own Secrets are there and complete."""
    namespace = namespace_name(tenant)
    complete = True
    for name, keys in OWN_SECRETS.items():
        found, subject = outlines.get(("Secret", name)), f"secret/{name}"
        if isinstance(found, Hidden):
            complete = False
            yield forbidden(Check.STORES, found.action, subject=subject)
            continue
        missing = [key for key in keys if found is None or key not in found.keys]
        if missing:
            complete = False
            what = f"does not exist in {namespace!r}" if found is None else f"lacks {' and '.join(missing)}"
            yield problem(
                Check.STORES,
                f"The Secret {name!r}, which the operator makes, {what}.",
                do=_HOW_IT_COMES.get(name, _BY_THE_STORES),
                subject=subject,
            )
    if complete:
        yield ok(Check.STORES, "The tenant's credentials and its first API key are in its namespace.")
