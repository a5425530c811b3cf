"""What the chat asks of Kubernetes: where an agent lives, how it is doing, and the tenant's key. It reads only."""

import base64
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import kubernetes
import urllib3
from kubernetes.config import kube_config
from yaml import YAMLError

from syntera_crds.contract import names
from syntera_crds.v1alpha1 import Agent, Tenant
from syntera_crds.v1alpha1.agent import AgentStatus
from syntera_crds.v1alpha1.common import ConditionStatus, ConditionType
from syntera_crds.v1alpha1.tenant import NAMESPACE_PREFIX

from .errors import AgentUnavailable, ClusterUnusable
from .text import printable

REQUEST_SECONDS = (5.0, 15.0)
"""To connect, and for the answer."""


@dataclass(frozen=True, slots=True)
class AgentState:
    """How an agent is doing."""

    is_published: bool
    """A configuration of it was published, be it not the last: it may answer although it is not ready."""
    trouble: str | None
    """Why it is not ready, None if it is."""


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """One context of the user's kubeconfig."""

    client: kubernetes.client.ApiClient
    """Logged in as the user."""
    host: str
    """Where the API server is."""
    namespace: str | None
    """The context's own namespace."""


def load_kubeconfig(context: str | None = None) -> Kubeconfig:
    """Read the kubeconfig; nothing is asked yet.

    Raises:
        ClusterUnusable: There is no usable kubeconfig, or no such context.
    """
    file = os.environ.get("KUBECONFIG") or None  # the library reads the variable when it is imported
    configuration = kubernetes.client.Configuration()
    configuration.retries = 1
    try:
        client = kubernetes.config.new_client_from_config(  # type: ignore[no-untyped-call]  # its author left it so
            config_file=file, context=context, client_configuration=configuration
        )
        merged = kube_config.KubeConfigMerger(file or kube_config.KUBE_CONFIG_DEFAULT_LOCATION).config  # type: ignore[no-untyped-call]
        chosen = merged["contexts"].get_with_name(context or merged["current-context"])
        namespace: str | None = chosen["context"].safe_get("namespace")
    except (kubernetes.config.ConfigException, OSError, ValueError, KeyError, TypeError, YAMLError) as exc:
        raise ClusterUnusable(
            f"There is no usable kubeconfig ({_one_line(exc)}). Set KUBECONFIG, or name a tenant's API with --url."
        ) from None
    return Kubeconfig(client, str(configuration.host), namespace)


class Cluster:
    """The cluster of one context of the user's kubeconfig."""

    def __init__(self, context: str | None = None) -> None:
        """Read the kubeconfig; nothing is asked yet.

        Raises:
            ClusterUnusable: There is no usable kubeconfig, or no such context.
        """
        kubeconfig = load_kubeconfig(context)
        self._host, self._namespace = kubeconfig.host, kubeconfig.namespace
        self._core = kubernetes.client.CoreV1Api(kubeconfig.client)
        self._objects = kubernetes.client.CustomObjectsApi(kubeconfig.client)

    def find_namespace(self, agent: str, *, tenant: str | None) -> str:
        """The namespace of a tenant; else the context's own; else the one that has the agent, if it is the only one.

        Raises:
            AgentUnavailable: No namespace has such an agent, or several have.
            ClusterUnusable: There is no such tenant, or the cluster cannot be asked.
        """
        if tenant is not None:
            return self._namespace_of(tenant)
        if self._namespace not in {None, "", "default"}:
            return str(self._namespace)
        everywhere = self._list("list agents in all namespaces; name one with -n", Agent, namespace=None)
        found = [item["metadata"]["namespace"] for item in everywhere if item["metadata"]["name"] == agent]
        if len(found) == 1:
            return str(found[0])
        if found:
            raise AgentUnavailable(f"Several namespaces have an agent {agent!r}: {_join(found)}. Name one with -n.")
        raise _no_such_agent(
            agent,
            "in this cluster",
            [f"{it['metadata']['name']} -n {it['metadata']['namespace']}" for it in everywhere],
        )

    def tenant_namespace(self, tenant: str | None) -> str:
        """The namespace of a tenant, else the context's own.

        Raises:
            ClusterUnusable: There is no such tenant, the context has no namespace of its own, or the cluster cannot be asked.
        """
        if tenant is not None:
            return self._namespace_of(tenant)
        if self._namespace in {None, "", "default"}:
            raise ClusterUnusable("Name the tenant with --tenant, or its namespace with -n.")
        return str(self._namespace)

    def agent_state(self, namespace: str, agent: str) -> AgentState:
        """How an agent is doing.

        Raises:
            AgentUnavailable: There is no such agent; the message lists those that there are.
            ClusterUnusable: The cluster cannot be asked.
        """
        action = f"read agents in namespace {namespace!r}"
        found = _ask(
            self._host, action, lambda: self._objects.get_namespaced_custom_object(
                names.GROUP, names.VERSION, namespace, Agent.info.plural, agent, _request_timeout=REQUEST_SECONDS
            ),
        )  # fmt: skip
        if found is None:
            there = [item["metadata"]["name"] for item in self._list(action, Agent, namespace=namespace)]
            raise _no_such_agent(agent, f"in namespace {namespace!r}", there)
        return _read_state(AgentStatus.model_validate(found.get("status") or {}))

    def admin_key(self, namespace: str) -> str:
        """The key of the tenant's first administrator.

        Raises:
            ClusterUnusable: It is not there, or may not be read.
        """
        secret = _ask(
            self._host,
            f"read the Secret {names.ADMIN_SECRET!r} in namespace {namespace!r}; use a key of your own with --api-key-file",
            lambda: self._core.read_namespaced_secret(
                names.ADMIN_SECRET, namespace, _request_timeout=REQUEST_SECONDS
            ).to_dict(),
        )
        encoded = ((secret or {}).get("data") or {}).get(names.ADMIN_API_KEY_KEY)
        if not encoded:
            raise ClusterUnusable(
                f"The namespace {namespace!r} has no API key in a Secret {names.ADMIN_SECRET!r}. Is it a tenant's, and"
                " is the Tenant ready?"
            )
        return base64.b64decode(encoded).decode()

    def _namespace_of(self, tenant: str) -> str:
        found = _ask(
            self._host, "read tenants; name the namespace with -n instead",
            lambda: self._objects.get_cluster_custom_object(
                names.GROUP, names.VERSION, Tenant.info.plural, tenant, _request_timeout=REQUEST_SECONDS
            ),
        )  # fmt: skip
        if found is None:
            there = [item["metadata"]["name"] for item in self._list("list tenants", Tenant, namespace=None)]
            raise ClusterUnusable(f"There is no tenant {tenant!r}. Tenants: {_join(there)}.")
        return str(found["spec"].get("namespace") or NAMESPACE_PREFIX + tenant)

    def _list(self, action: str, kind: type[Agent] | type[Tenant], *, namespace: str | None) -> list[dict[str, Any]]:
        def ask() -> Any:
            place = (names.GROUP, names.VERSION)
            if namespace is None:
                return self._objects.list_cluster_custom_object(
                    *place, kind.info.plural, _request_timeout=REQUEST_SECONDS
                )
            return self._objects.list_namespaced_custom_object(
                *place, namespace, kind.info.plural, _request_timeout=REQUEST_SECONDS
            )

        found = _ask(self._host, action, ask)
        if found is None:
            raise ClusterUnusable(f"Syntera is not installed in the cluster {self._host}.")
        items: list[dict[str, Any]] = found["items"]
        return items


def _ask(host: str, action: str, call: Callable[[], Any]) -> Mapping[str, Any] | None:
    """The answer to one request, None if what is asked for does not exist.

    Raises:
        ClusterUnusable: The cluster does not answer, or does not allow it.
    """
    try:
        answer: Mapping[str, Any] = call()
    except kubernetes.client.ApiException as exc:
        if exc.status == 404:
            return None
        if exc.status == 401:
            raise ClusterUnusable(f"The cluster {host} does not accept your credentials; log in again.") from None
        if exc.status == 403:
            raise ClusterUnusable(f"You may not {action}.") from None
        raise ClusterUnusable(f"The cluster {host} answered HTTP {exc.status}; try again later.") from None
    except urllib3.exceptions.HTTPError:
        raise ClusterUnusable(f"The cluster {host} does not answer; is it up, and is the kubeconfig right?") from None
    return answer


def _read_state(status: AgentStatus) -> AgentState:
    ready = next((one for one in status.conditions if one.type == ConditionType.READY), None)
    is_ready = ready is not None and ready.status is ConditionStatus.TRUE
    message = printable(ready.message) if ready else "The operator has not looked at it yet."
    return AgentState(is_published=bool(status.revision), trouble=None if is_ready else message)


def _no_such_agent(agent: str, place: str, there: list[str]) -> AgentUnavailable:
    return AgentUnavailable(f"There is no agent {agent!r} {place}. Agents: {_join(there)}.")


def _one_line(exc: Exception) -> str:
    return printable(" ".join(str(exc).split())).rstrip(".")


def _join(words: list[str]) -> str:
    return ", ".join(sorted(words)) or "none"
