"""Compiles what a Tenant's runtime acts by: whom to trust, which websites may call it, how much it takes, where files go."""

from collections.abc import Iterable, Mapping

from syntera_crds.contract.agent_config import SecretKey
from syntera_crds.contract.tenant_config import (
    ChallengeConfig,
    Egress,
    FilesConfig,
    Limits,
    S3Config,
    TenantConfig,
    TokenIssuer,
)
from syntera_crds.v1alpha1 import Tenant
from syntera_crds.v1alpha1.auth import Challenge, Issuer
from syntera_crds.v1alpha1.common import ConfigMapKeyRef
from syntera_crds.v1alpha1.files import ACCESS_KEY_ID, S3, SECRET_ACCESS_KEY, Files
from syntera_crds.v1alpha1.tenant import ModelEndpoint

from .model_access import build_endpoint_access


def build_tenant_config(
    tenant: Tenant, bundles: Mapping[ConfigMapKeyRef, str], *, endpoints: Iterable[ModelEndpoint] = ()
) -> TenantConfig:
    """The configuration. `endpoints` are those of the Tenant's that can be reached; `bundles` holds the CA certificates of the
    issuers and of these endpoints that have some."""
    auth, exposure = tenant.spec.auth, tenant.spec.exposure
    return TenantConfig(
        name=tenant.metadata.name,
        display_name=tenant.display_name,
        issuers=[_build_issuer(issuer, bundles) for issuer in auth.issuers],
        allowed_origins=auth.allowed_origins,
        challenge=None if auth.challenge is None else _build_challenge(auth.challenge),
        limits=Limits(**tenant.spec.limits.model_dump()),
        egress=Egress(**tenant.spec.egress.model_dump()),
        trusted_proxies=[] if exposure is None else exposure.trusted_proxies,
        files=_build_files(tenant.spec.files),
        endpoints=[build_endpoint_access(endpoint, bundles) for endpoint in endpoints],
    )


def _build_challenge(challenge: Challenge) -> ChallengeConfig:
    ref = challenge.secret_key_ref
    return ChallengeConfig(
        verify_url=challenge.verify_url, secret=SecretKey(name=ref.name, key=ref.key), hostnames=challenge.hostnames
    )


def _build_files(files: Files) -> FilesConfig:
    return FilesConfig(max_megabytes=files.max_megabytes, s3=None if files.s3 is None else _build_s3(files.s3))


def _build_s3(s3: S3) -> S3Config:
    secret = s3.credentials_secret_ref.name
    return S3Config(
        endpoint=s3.endpoint_url,
        region=s3.region,
        bucket=s3.bucket,
        prefix=s3.prefix or "",
        access_key_id=SecretKey(name=secret, key=ACCESS_KEY_ID),
        secret_access_key=SecretKey(name=secret, key=SECRET_ACCESS_KEY),
    )


def _build_issuer(issuer: Issuer, bundles: Mapping[ConfigMapKeyRef, str]) -> TokenIssuer:
    bundle = issuer.ca_bundle_config_map_ref
    return TokenIssuer(
        issuer=issuer.issuer,
        audiences=issuer.audiences,
        jwks_url=issuer.jwks_url,
        algorithms=[algorithm.value for algorithm in issuer.algorithms],
        role_claim=issuer.role_claim,
        ca_bundle=None if bundle is None else bundles[bundle],
    )
