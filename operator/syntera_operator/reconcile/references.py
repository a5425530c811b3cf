"""What model endpoints, issuers, sources and other services refer to: whether it exists and may be used. Values of Secrets are never read."""

import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from syntera_crds.contract import names
from syntera_crds.v1alpha1 import KnowledgeBase
from syntera_crds.v1alpha1.auth import Issuer
from syntera_crds.v1alpha1.common import ConfigMapKeyRef, Reason, SecretKeyRef
from syntera_crds.v1alpha1.files import ACCESS_KEY_ID, SECRET_ACCESS_KEY
from syntera_crds.v1alpha1.knowledge_sources import PASSWORD, USERNAME
from syntera_crds.v1alpha1.tenant import ModelEndpoint, TenantSpec

from ..cluster import Cluster, Reference, SecretView
from ..conditions import Check, Good, Outlook, Problem, join_problems
from ..desired.credentials import OWN_SECRETS


@dataclass(frozen=True, slots=True)
class Resolution:
    """What became of the references."""

    problems: tuple[Problem, ...]
    usable_secrets: frozenset[str]
    """Names of the Secrets that the runtime may read."""
    texts: Mapping[ConfigMapKeyRef, str]
    """Entries of ConfigMaps that were found; of CA certificates those that can be read."""


@dataclass(frozen=True, slots=True)
class References:
    """References with the fields that they stand in; the first of several fields is the one that is told."""

    secrets: Mapping[SecretKeyRef, str]
    bundles: Mapping[ConfigMapKeyRef, str]
    """CA certificates."""
    config_maps: Mapping[ConfigMapKeyRef, str]
    """Texts of any kind."""
    whole_config_maps: Mapping[str, str] = field(default_factory=dict)
    """Names of ConfigMaps of which every entry counts."""

    def causes(self, namespace: str) -> set[Reference]:
        """What to look at again when it changes."""
        secrets = {Reference("Secret", namespace, ref.name) for ref in self.secrets}
        config_maps = {*(ref.name for ref in (*self.bundles, *self.config_maps)), *self.whole_config_maps}
        return secrets | {Reference("ConfigMap", namespace, name) for name in config_maps}


def list_references(
    endpoints: Iterable[tuple[str, ModelEndpoint]], *, config_maps: Mapping[ConfigMapKeyRef, str] | None = None
) -> References:
    """All references of model endpoints and those of `config_maps`; each comes with what to put before its field's name."""
    secrets: dict[SecretKeyRef, str] = {}
    bundles: dict[ConfigMapKeyRef, str] = {}
    for place, endpoint in endpoints:
        if endpoint.api_key_secret_ref is not None:
            secrets.setdefault(endpoint.api_key_secret_ref, f"{place}apiKeySecretRef")
        for index, header in enumerate(endpoint.headers):
            if header.secret_key_ref is not None:
                secrets.setdefault(header.secret_key_ref, f"{place}headers[{index}].secretKeyRef")
        if endpoint.ca_bundle_config_map_ref is not None:
            bundles.setdefault(endpoint.ca_bundle_config_map_ref, f"{place}caBundleConfigMapRef")
    return References(secrets, bundles, config_maps or {})


def list_issuer_references(issuers: Iterable[Issuer]) -> References:
    """All references of a Tenant's issuers."""
    bundles: dict[ConfigMapKeyRef, str] = {}
    for index, issuer in enumerate(issuers):
        if issuer.ca_bundle_config_map_ref is not None:
            bundles.setdefault(issuer.ca_bundle_config_map_ref, f"spec.auth.issuers[{index}].caBundleConfigMapRef")
    return References(secrets={}, bundles=bundles, config_maps={})


def list_service_references(spec: TenantSpec) -> References:
    """All references of what a Tenant uses beside models: its challenge, its store of files and that of vectors."""
    secrets: dict[SecretKeyRef, str] = {}
    if spec.auth.challenge is not None:
        secrets[spec.auth.challenge.secret_key_ref] = "spec.auth.challenge.secretKeyRef"
    if spec.files.s3 is not None:
        name = spec.files.s3.credentials_secret_ref.name
        for key in (ACCESS_KEY_ID, SECRET_ACCESS_KEY):
            secrets.setdefault(SecretKeyRef(name=name, key=key), "spec.files.s3.credentialsSecretRef")
    pinecone = spec.stores.vectors.pinecone
    if pinecone is not None:
        secrets.setdefault(pinecone.api_key_secret_ref, "spec.stores.vectors.pinecone.apiKeySecretRef")
    return References(secrets=secrets, bundles={}, config_maps={})


def list_source_references(knowledge_base: KnowledgeBase) -> dict[SecretKeyRef, str]:
    """The entries of Secrets that a KnowledgeBase's sources name."""
    secrets: dict[SecretKeyRef, str] = {}
    for index, source in enumerate(knowledge_base.spec.sources):
        if source.git is not None and source.git.credentials_secret_ref is not None:
            for key in (USERNAME, PASSWORD):
                ref = SecretKeyRef(name=source.git.credentials_secret_ref.name, key=key)
                secrets.setdefault(ref, f"spec.sources[{index}].git.credentialsSecretRef")
        if source.s3 is not None:
            for key in (ACCESS_KEY_ID, SECRET_ACCESS_KEY):
                ref = SecretKeyRef(name=source.s3.credentials_secret_ref.name, key=key)
                secrets.setdefault(ref, f"spec.sources[{index}].s3.credentialsSecretRef")
    return secrets


async def resolve(references: References, *, namespace: str, cluster: Cluster) -> Resolution:
    """Look all of them up.

    Raises:
        KubeError: the API server did not answer, or refused.
    """
    views: dict[str, SecretView | None] = {}
    for ref in references.secrets:
        if ref.name not in views and ref.name not in OWN_SECRETS:
            views[ref.name] = await cluster.usable_secret_keys(namespace, ref.name)
    data: dict[str, dict[str, str] | None] = {}
    for config_map in (*references.bundles, *references.config_maps):
        if config_map.name not in data:
            data[config_map.name] = await cluster.config_map_data(namespace, config_map.name)
    problems = [
        *(_check_secret(ref, field, views.get(ref.name), namespace) for ref, field in references.secrets.items()),
        *(
            _check_entry(config_map, field, data[config_map.name], namespace)
            for config_map, field in (*references.bundles.items(), *references.config_maps.items())
        ),
    ]
    texts = {
        config_map: text
        for config_map in (*references.bundles, *references.config_maps)
        if (text := (data[config_map.name] or {}).get(config_map.key)) is not None
    }
    problems += [
        _check_config_map(name, place, cluster.config_map_version(namespace, name), namespace)
        for name, place in references.whole_config_maps.items()
    ]
    unreadable = {
        ref: problem
        for ref, field in references.bundles.items()
        if ref in texts and (problem := _check_bundle(ref, field, texts[ref])) is not None
    }
    return Resolution(
        problems=tuple(problem for problem in (*problems, *unreadable.values()) if problem is not None),
        usable_secrets=frozenset(name for name, view in views.items() if view is not None and view.usable),
        texts={ref: text for ref, text in texts.items() if ref not in unreadable},
    )


def check_of(problems: Iterable[Problem]) -> Check:
    """One check for all references."""
    return join_problems(
        problems, good=Good(Reason.RESOLVED, "Everything that the spec refers to exists and may be used.")
    )


def _check_secret(ref: SecretKeyRef, field: str, view: SecretView | None, namespace: str) -> Problem | None:
    label = f"kubectl -n {namespace} label secret {ref.name} {names.USABLE_LABEL}=true"
    if ref.name in OWN_SECRETS:
        return Problem(
            Reason.SECRET_NOT_USABLE,
            f"{field}: Secret {ref.name!r} is the operator's own and cannot be referred to; name another one.",
            Outlook.STALLED,
        )
    if view is None:
        return Problem(
            Reason.SECRET_NOT_FOUND,
            f"{field}: namespace {namespace!r} has no Secret {ref.name!r}; create it, and release it for use: {label}",
        )
    if not view.usable:
        return Problem(
            Reason.SECRET_NOT_USABLE,
            f"{field}: Secret {ref.name!r} may not be used; if you own it, release it: {label}",
            Outlook.STALLED,
        )
    if ref.key not in view.keys:
        return Problem(
            Reason.SECRET_KEY_NOT_FOUND,
            f"{field}: Secret {ref.name!r} has no entry {ref.key!r}; add it, or name another one.",
        )
    return None


def _check_entry(ref: ConfigMapKeyRef, field: str, data: Mapping[str, str] | None, namespace: str) -> Problem | None:
    if data is None:
        return _describe_no_config_map(ref.name, field, namespace)
    if ref.key not in data:
        return Problem(
            Reason.CONFIG_MAP_KEY_NOT_FOUND,
            f"{field}: ConfigMap {ref.name!r} has no text entry {ref.key!r}; add it, or name another one.",
        )
    return None


def _check_config_map(name: str, field: str, version: str | None, namespace: str) -> Problem | None:
    return _describe_no_config_map(name, field, namespace) if version is None else None


def _describe_no_config_map(name: str, field: str, namespace: str) -> Problem:
    return Problem(
        Reason.CONFIG_MAP_NOT_FOUND,
        f"{field}: namespace {namespace!r} has no ConfigMap {name!r}; create it, or name another one.",
    )


def _check_bundle(ref: ConfigMapKeyRef, field: str, text: str) -> Problem | None:
    """A bundle that cannot be read would break the runtime's connections, so it is tried here."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        return Problem(
            Reason.INVALID,
            f"{field}: entry {ref.key!r} of ConfigMap {ref.name!r} holds no readable PEM certificates; mend it.",
            Outlook.STALLED,
        )
    return None
