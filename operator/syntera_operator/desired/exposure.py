"""How the tenant's API is reached: its Ingress or HTTPRoute, and the address that people are told."""

from typing import Any

from syntera_crds.contract import names
from syntera_crds.v1alpha1.tenant import Exposure, GatewayRef

from ..manifest import Manifest
from .metadata import Scope, build_object
from .service import PUBLIC_PORT_NAME, SERVICE_PORT

_STREAM_ANNOTATIONS = {
    "nginx.ingress.kubernetes.io/proxy-buffering": "off",
    "nginx.ingress.kubernetes.io/proxy-request-buffering": "off",
    "nginx.ingress.kubernetes.io/proxy-read-timeout": "660",
    "nginx.ingress.kubernetes.io/proxy-send-timeout": "660",
}
"""An answer is a stream that may take ten minutes. Other controllers ignore these and have settings of their own."""


def build_endpoint(scope: Scope, exposure: Exposure | None) -> str:
    """The base URL of the tenant's API."""
    if exposure is None:
        return f"http://{names.RUNTIME}.{scope.namespace}.svc"
    is_secure = exposure.gateway_ref is not None or exposure.tls_secret_name is not None
    return f"{'https' if is_secure else 'http'}://{exposure.host}"


def build_exposure(scope: Scope, exposure: Exposure) -> Manifest:
    """The Ingress, or the HTTPRoute where a Gateway is named."""
    if exposure.gateway_ref is not None:
        return _build_route(scope, exposure.host, exposure.gateway_ref)
    return _build_ingress(scope, exposure)


def _build_ingress(scope: Scope, exposure: Exposure) -> Manifest:
    backend = {"service": {"name": names.RUNTIME, "port": {"name": PUBLIC_PORT_NAME}}}
    spec: dict[str, Any] = {
        "rules": [
            {"host": exposure.host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
        ],
    }
    if exposure.ingress_class_name is not None:
        spec["ingressClassName"] = exposure.ingress_class_name
    if exposure.tls_secret_name is not None:
        spec["tls"] = [{"hosts": [exposure.host], "secretName": exposure.tls_secret_name}]
    ingress = build_object("networking.k8s.io/v1", "Ingress", names.EXPOSURE, scope, spec=spec)
    ingress["metadata"]["annotations"] = dict(_STREAM_ANNOTATIONS)
    return ingress


def _build_route(scope: Scope, host: str, gateway: GatewayRef) -> Manifest:
    parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway"}
    parent |= {"name": gateway.name, "namespace": gateway.namespace}
    if gateway.section_name is not None:
        parent["sectionName"] = gateway.section_name
    return build_object(
        "gateway.networking.k8s.io/v1",
        "HTTPRoute",
        names.EXPOSURE,
        scope,
        spec={
            "parentRefs": [parent],
            "hostnames": [host],
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                    "backendRefs": [{"name": names.RUNTIME, "port": SERVICE_PORT}],
                    # "0s" means none: a stream ends when the answer does.
                    "timeouts": {"request": "0s", "backendRequest": "0s"},
                }
            ],
        },
    )
