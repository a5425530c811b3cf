"""An installation and a tenant on a real API server, all well. No kubelet is there: pods are ready because a test says so."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from syntera_crds.contract import names
from syntera_crds.contract.api_key import ApiKey, KeyKind
from tests.support.apiserver import RunningApiServer, unique_name
from tests.support.make import make_endpoint

from .make import Json, make_conditions

TENANTS = f"/apis/{names.API_VERSION}/tenants"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
_MERGE = "application/merge-patch+json"
_DEADLINE_SECONDS = 60


@dataclass
class Site:
    """Everything that the doctor looks at."""

    server: RunningApiServer
    system: str
    operator: str
    tenant: str
    namespace: str
    key: str = field(default_factory=lambda: ApiKey.generate(KeyKind.SECRET).text)

    @classmethod
    def make(cls, server: RunningApiServer) -> "Site":
        """An operator, a Tenant and an Agent `travel`, all of which are well."""
        tenant = unique_name("tenant")
        namespace = server.create_namespace("ns", labels={names.TENANT_LABEL: tenant})
        site = cls(server, server.create_namespace("system"), unique_name("op"), tenant, namespace)
        site._make_operator()
        site._make_tenant()
        return site

    def remove(self) -> None:
        """Take away what has no namespace."""
        for plural in ("validatingadmissionpolicies", "validatingadmissionpolicybindings"):
            for end in ("tenants", "namespaces", "rolebindings", "children"):
                self.server.send("DELETE", f"{ADMISSION}/{plural}/{self.operator}-{end}")
        self.server.send("DELETE", f"{TENANTS}/{self.tenant}")
        self.change_tenant({"metadata": {"finalizers": []}})

    def change_tenant(self, change: Json) -> None:
        """Change the Tenant, its status apart."""
        self.server.send("PATCH", f"{TENANTS}/{self.tenant}", change, content_type=_MERGE)

    def tell_tenant(self, **conditions: tuple[str, str, str]) -> None:
        """Let the operator say something of the Tenant's present spec."""
        generation = self.server.send("GET", f"{TENANTS}/{self.tenant}")["metadata"]["generation"]
        status = {"observedGeneration": generation, "conditions": make_conditions(generation, **conditions)}
        self._set_status(f"{TENANTS}/{self.tenant}", status)

    def delete(self, path: str) -> None:
        """Delete an object of the tenant's namespace, such as `secrets/openai`."""
        self.server.send("DELETE", f"/api/v1/namespaces/{self.namespace}/{path}")

    def make_agent(self, name: str, *, reason: str = "Serving", message: str = "It is served.") -> None:
        """An Agent; any reason but `Serving` says that it is not served."""
        path = f"/apis/{names.API_VERSION}/namespaces/{self.namespace}/agents"
        metadata = {"name": name, "namespace": self.namespace}
        body = {"apiVersion": names.API_VERSION, "kind": "Agent", "metadata": metadata}
        self.server.send("POST", path, {**body, "spec": {"instructions": "Be brief."}})
        ready = ("True" if reason == "Serving" else "False", reason, message)
        conditions = [one for one in make_conditions(Ready=ready) if one["type"] == "Ready"]
        self._set_status(f"{path}/{name}", {"observedGeneration": 1, "revision": 3, "conditions": conditions})

    def make_knowledge_base(self, name: str, *, synced: tuple[str, str, str] = ("True", "Synced", "It is.")) -> None:
        """A KnowledgeBase; one that is not synced has never been, and cannot be searched."""
        path = f"/apis/{names.API_VERSION}/namespaces/{self.namespace}/knowledgebases"
        body = {"apiVersion": names.API_VERSION, "kind": "KnowledgeBase", "metadata": {"name": name}}
        self.server.send("POST", path, {**body, "spec": {"sources": [{"name": "uploads", "upload": {}}]}})
        ready = ("True", "Serving", "It is searched.") if synced[0] == "True" else synced
        conditions = make_conditions(Ready=ready, Synced=synced)
        self._set_status(f"{path}/{name}", {"observedGeneration": 1, "conditions": conditions})

    def set_pods(self, namespace: str, *, container: Json | None = None, ready: bool = True) -> list[str]:
        """Say how the pods of a namespace are; their names."""
        pods = f"/api/v1/namespaces/{namespace}/pods"
        found = self.server.send("GET", pods)["items"]
        for pod in found:
            told = {"name": "main", "image": "x", "imageID": "", "ready": ready, "restartCount": 0}
            status = {
                "phase": "Running",
                "startTime": "2026-01-01T00:00:00Z",
                "conditions": [
                    {"type": "PodScheduled", "status": "True"},
                    {"type": "Ready", "status": "True" if ready else "False"},
                ],
                "containerStatuses": [told | {"state": {"running": {}}} | (container or {})],
            }
            self._set_status(f"{pods}/{pod['metadata']['name']}", status)
        return [pod["metadata"]["name"] for pod in found]

    def _make_operator(self) -> None:
        labels = {names.NAME_LABEL: "syntera", names.COMPONENT_LABEL: "operator", "helm.sh/chart": "syntera-0.1.0"}
        self._make_deployment(self.system, self.operator, labels)
        (pod,) = self.set_pods(self.system)
        self._wait_available(self.system, self.operator)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": f"{pod}_1a2b3c4d", "leaseDurationSeconds": 3600, "renewTime": now}
        lease = {"metadata": {"name": names.LEASE_NAME}, "spec": spec}
        self.server.send("POST", f"/apis/coordination.k8s.io/v1/namespaces/{self.system}/leases", lease)
        for end in ("tenants", "namespaces", "rolebindings", "children"):
            self._make_policy(f"{self.operator}-{end}")

    def _make_policy(self, name: str) -> None:
        rule = {"apiGroups": ["syntera.io"], "apiVersions": ["*"], "resources": ["nothing"], "operations": ["CREATE"]}
        spec = {"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": "true"}]}
        metadata = {"metadata": {"name": name}}
        self.server.send("POST", f"{ADMISSION}/validatingadmissionpolicies", {**metadata, "spec": spec})
        binding = {"policyName": name, "validationActions": ["Deny"]}
        self.server.send("POST", f"{ADMISSION}/validatingadmissionpolicybindings", {**metadata, "spec": binding})

    def _make_tenant(self) -> None:
        models = [make_endpoint(apiKeySecretRef={"name": "openai", "key": "api-key"})]
        body = {"apiVersion": names.API_VERSION, "kind": "Tenant"}
        metadata = {"name": self.tenant, "finalizers": [names.TENANT_FINALIZER]}
        spec = {"namespace": self.namespace, "models": models}
        self.server.send("POST", TENANTS, {**body, "metadata": metadata, "spec": spec})
        self.tell_tenant()
        self._make_secret("openai", {"api-key": "sk-not-to-be-printed"}, {names.USABLE_LABEL: "true"})
        self._make_secret(names.ADMIN_SECRET, {names.ADMIN_API_KEY_KEY: self.key}, {})
        urls = {
            names.POSTGRESQL_URL_KEY: "postgresql://not-to-be-printed",
            names.REDIS_URL_KEY: "redis://not-to-be-printed",
        }
        self._make_secret(names.STORES_SECRET, urls, {})
        self._make_secret(names.SIGNING_SECRET, {names.SIGNING_KEY_KEY: "not-to-be-printed"}, {})
        self._make_deployment(
            self.namespace, names.RUNTIME, {names.NAME_LABEL: names.RUNTIME, names.TENANT_LABEL: self.tenant}
        )
        self.set_pods(self.namespace)
        self._wait_available(self.namespace, names.RUNTIME)
        self.make_agent("travel")

    def _make_secret(self, name: str, entries: Mapping[str, str], labels: Mapping[str, str]) -> None:
        body = {"metadata": {"name": name, "labels": dict(labels)}, "stringData": dict(entries)}
        self.server.send("POST", f"/api/v1/namespaces/{self.namespace}/secrets", body)

    def _make_deployment(self, namespace: str, name: str, labels: Mapping[str, str]) -> None:
        template = {"metadata": {"labels": dict(labels)}, "spec": {"containers": [{"name": "main", "image": "x"}]}}
        spec = {"replicas": 1, "selector": {"matchLabels": dict(labels)}, "template": template}
        body = {"metadata": {"name": name, "labels": dict(labels)}, "spec": spec}
        self.server.send("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", body)
        pods = f"/api/v1/namespaces/{namespace}/pods"
        _wait_until(lambda: bool(self.server.send("GET", pods)["items"]))

    def _wait_available(self, namespace: str, name: str) -> None:
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
        _wait_until(lambda: self.server.send("GET", path).get("status", {}).get("availableReplicas") == 1)

    def _set_status(self, path: str, status: Json) -> None:
        self.server.send("PATCH", f"{path}/status", {"status": status}, content_type=_MERGE)


def _wait_until(check: Callable[[], Any]) -> None:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.05)
