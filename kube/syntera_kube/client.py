"""A thin client: verbs on kinds, JSON in and out, no model classes, no cache.

Every call has a deadline and raises typed errors (`errors`); the transport retries what may be retried. Objects are plain
dictionaries. A client that must not write at all times carries a `before_write` hook (`guarded`).
"""

import random
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Literal, Self

import orjson

from .config import ClusterConfig
from .decoding import decode
from .errors import Conflict, Gone, Invalid, NotFound, ServerError, error_from_status
from .model import EVERYTHING, Manifest, ObjectList, Selection, ServiceAccountToken, WatchEvent
from .resources import SERVICE_ACCOUNTS, Resource
from .transport import DEFAULT_TIMEOUT_SECONDS, BeforeWrite, Request, RequestObserver, Transport

_PARTIAL = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_PARTIAL_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_APPLY = "application/apply-patch+yaml"
_MERGE_PATCH = "application/merge-patch+json"
_JSON_PATCH = "application/json-patch+json"
_INACTIVITY_SECONDS = 100.0
"""The API server sends a bookmark every minute or so; a watch that is silent for longer is dead."""


class KubeClient:
    """The API server's verbs. Whoever makes the `Transport` closes it."""

    def __init__(self, transport: Transport, *, before_write: BeforeWrite | None = None) -> None:
        self._transport = transport
        self._before_write = before_write

    @classmethod
    def connect(
        cls,
        config: ClusterConfig | None = None,
        *,
        component: str,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        observer: RequestObserver | None = None,
    ) -> Self:
        """A client with a transport of its own, by default to the environment's API server; close it with `aclose`.

        `component` is the User-Agent. Must be called inside a running event loop.

        Raises:
            ConfigError: there is no usable configuration.
        """
        transport = Transport(
            config or ClusterConfig.from_environment(),
            component=component,
            timeout_seconds=timeout_seconds,
            observer=observer,
        )
        return cls(transport)

    def guarded(self, before_write: BeforeWrite) -> "KubeClient":
        """The same client, over the same session, that asks `before_write` before each write."""
        return KubeClient(self._transport, before_write=before_write)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the session, for every client that shares it."""
        await self._transport.aclose()

    # Reading ---------------------------------------------------------------------------------------------------------

    async def get(
        self, resource: Resource, name: str, *, namespace: str | None = None, metadata_only: bool = False
    ) -> Manifest:
        """One object.

        Raises:
            NotFound: it does not exist.
            KubeError: any other failure.
        """
        path = resource.path(namespace=namespace, name=name)
        answer = await self._transport.send(
            Request("GET", path, accept=_PARTIAL if metadata_only else "application/json")
        )
        return _typed(answer, resource)

    async def is_discoverable(self, resource: Resource) -> bool:
        """Whether the API server tells of the kind in its discovery, which may be a moment after it serves it.

        Raises:
            KubeError: the server refused, or did not answer.
        """
        try:
            answer = await self._transport.send(Request("GET", resource.group_path))
        except NotFound:
            return False
        return any(one["name"] == resource.plural for one in answer["resources"])

    async def list(self, resource: Resource, selection: Selection = EVERYTHING, *, page_size: int = 500) -> ObjectList:
        """All selected objects, as one consistent state, fetched in pages of `page_size` (0: at once).

        Raises:
            KubeError: there is no such kind, the server refused, or it did not answer.
        """
        try:
            return await self._list_pages(resource, selection, page_size)
        except Gone:  # compaction overtook a slow reader
            return await self._list_pages(resource, selection, 0)

    async def _list_pages(self, resource: Resource, selection: Selection, page_size: int) -> ObjectList:
        params = selection.params()
        if page_size:
            params["limit"] = str(page_size)
        items: list[Manifest] = []
        while True:
            request = Request(
                "GET",
                resource.path(namespace=selection.namespace),
                params=params,
                accept=_PARTIAL_LIST if selection.metadata_only else "application/json",
            )
            page = await self._transport.send(request)
            items += (_typed(item, resource) for item in page.get("items") or ())
            following = page["metadata"].get("continue")
            if not following:
                return ObjectList(items, page["metadata"]["resourceVersion"])
            params["continue"] = following

    async def watch(
        self,
        resource: Resource,
        selection: Selection = EVERYTHING,
        *,
        resource_version: str,
        inactivity_seconds: float = _INACTIVITY_SECONDS,
    ) -> AsyncGenerator[WatchEvent, None]:
        """Changes after `resource_version`, bookmarks included, until the server ends the stream (some minutes).

        Close the iterator (`contextlib.aclosing`) if you leave it early.

        Raises:
            Gone: the resourceVersion is too old; list again.
            KubeError: the server refused, or the stream broke or was silent for `inactivity_seconds`.
        """
        params = selection.params() | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(random.randint(300, 600)),  # noqa: S311 - spreads reconnections
        }
        request = Request(
            "GET",
            resource.path(namespace=selection.namespace),
            params=params,
            accept=_PARTIAL if selection.metadata_only else "application/json",
        )
        async with self._transport.stream(request, inactivity_seconds=inactivity_seconds) as lines:
            async for line in lines:
                yield _watch_event(line, resource)

    # Writing ---------------------------------------------------------------------------------------------------------

    async def apply(
        self, resource: Resource, manifest: Manifest, *, field_manager: str, force: bool = True
    ) -> Manifest:
        """Server-side apply: the object as it is afterwards.

        Raises:
            Conflict: another manager owns a field and `force` is off.
            Invalid: the API server refuses the content.
            KubeError: any other failure.
        """
        params = {"fieldManager": field_manager, "force": "true" if force else "false"}
        return await self._write("PATCH", resource, manifest, body=manifest, params=params, content_type=_APPLY)

    async def create(self, resource: Resource, manifest: Manifest, *, field_manager: str | None = None) -> Manifest:
        """A new object. With `metadata.generateName` instead of a name the API server chooses one.

        Raises:
            Conflict: an object of that name exists (`reason` AlreadyExists).
            KubeError: any other failure.
        """
        request = Request(
            "POST",
            resource.path(namespace=manifest["metadata"].get("namespace")),
            params=_manager(field_manager),
            body=manifest,
            idempotent=False,
        )
        return _typed(await self._transport.send(request, before_write=self._before_write), resource)

    async def update(
        self,
        resource: Resource,
        manifest: Manifest,
        *,
        field_manager: str | None = None,
        timeout_seconds: float | None = None,
    ) -> Manifest:
        """Replace the object; with `metadata.resourceVersion` only if it is still that version.

        Raises:
            Conflict: it changed meanwhile.
            KubeError: any other failure.
        """
        return await self._write(
            "PUT", resource, manifest, body=manifest, params=_manager(field_manager), timeout_seconds=timeout_seconds
        )

    async def merge_patch(
        self,
        resource: Resource,
        manifest: Manifest,
        *,
        subresource: str | None = None,
        field_manager: str | None = None,
    ) -> Manifest:
        """Merge `manifest` into the object that its metadata names; null removes a field, lists are replaced whole.

        With `metadata.resourceVersion` only if it is still that version.

        Raises:
            Conflict: the object changed meanwhile.
            KubeError: any other failure.
        """
        return await self._write(
            "PATCH",
            resource,
            manifest,
            body=manifest,
            subresource=subresource,
            params=_manager(field_manager),
            content_type=_MERGE_PATCH,
        )

    async def patch_status(
        self, resource: Resource, manifest: Manifest, *, field_manager: str | None = None
    ) -> Manifest:
        """Make the status of exactly the object that `manifest` names, by its uid too, be `manifest`'s.

        Raises:
            Conflict: the object of that name has another uid.
            KubeError: any other failure.
        """
        metadata = manifest["metadata"]
        # Of a merge patch on a status the API server ignores the uid.
        operations = [
            {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
            {"op": "add", "path": "/status", "value": manifest["status"]},
        ]
        try:
            return await self._write(
                "PATCH",
                resource,
                manifest,
                body=operations,
                subresource="status",
                params=_manager(field_manager),
                content_type=_JSON_PATCH,
            )
        except Invalid as exc:  # which of the two operations failed, it does not say
            found = await self.get(resource, metadata["name"], namespace=metadata.get("namespace"), metadata_only=True)
            if found["metadata"]["uid"] == metadata["uid"]:
                raise
            raise Conflict(f"{resource.kind} {metadata['name']!r} was made anew", reason=exc.reason) from exc

    async def json_patch(
        self,
        resource: Resource,
        name: str,
        operations: Sequence[Mapping[str, Any]],
        *,
        namespace: str | None = None,
        field_manager: str | None = None,
    ) -> Manifest:
        """Apply JSON patch operations, all or none.

        Raises:
            Invalid: a `test` operation failed, or the result is refused.
            KubeError: any other failure.
        """
        named = {"metadata": {"name": name, "namespace": namespace}}
        return await self._write(
            "PATCH",
            resource,
            named,
            body=list(operations),
            params=_manager(field_manager),
            content_type=_JSON_PATCH,
            idempotent=False,
        )

    async def delete(
        self,
        resource: Resource,
        name: str,
        *,
        namespace: str | None = None,
        uid: str | None = None,
        propagation: Literal["Background", "Foreground", "Orphan"] = "Background",
    ) -> None:
        """Ask for deletion; with `uid` only of exactly that object.

        Raises:
            NotFound: it does not exist.
            Conflict: the object of that name has another uid.
            KubeError: any other failure.
        """
        options: Manifest = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        request = Request("DELETE", resource.path(namespace=namespace, name=name), body=options)
        await self._transport.send(request, before_write=self._before_write)

    async def create_token(
        self, namespace: str, service_account: str, *, audiences: Sequence[str], expiration_seconds: int = 3600
    ) -> ServiceAccountToken:
        """A token of a ServiceAccount for `audiences` (TokenRequest). It changes nothing, so no hook is asked.

        Raises:
            NotFound: there is no such ServiceAccount.
            KubeError: any other failure.
        """
        path = SERVICE_ACCOUNTS.path(namespace=namespace, name=service_account, subresource="token")
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": list(audiences), "expirationSeconds": expiration_seconds},
        }
        answer = await self._transport.send(Request("POST", path, body=body))
        return ServiceAccountToken(answer["status"]["token"], float(answer["spec"]["expirationSeconds"]))

    async def _write(
        self,
        method: str,
        resource: Resource,
        named: Manifest,
        *,
        body: Any,
        params: Mapping[str, str] | None,
        content_type: str = "application/json",
        subresource: str | None = None,
        idempotent: bool = True,
        timeout_seconds: float | None = None,
    ) -> Manifest:
        metadata = named["metadata"]
        request = Request(
            method,
            resource.path(namespace=metadata.get("namespace"), name=metadata["name"], subresource=subresource),
            params=params,
            body=body,
            content_type=content_type,
            idempotent=idempotent,
        )
        answer = await self._transport.send(request, timeout_seconds=timeout_seconds, before_write=self._before_write)
        return _typed(answer, resource)


def _manager(field_manager: str | None) -> dict[str, str] | None:
    return {"fieldManager": field_manager} if field_manager else None


def _typed(item: Manifest, resource: Resource) -> Manifest:
    """Items of lists do not say what they are, and partial objects say that they are partial."""
    item["apiVersion"] = resource.api_version
    item["kind"] = resource.kind
    return item


def _watch_event(line: bytes, resource: Resource) -> WatchEvent:
    try:
        event = decode(line)
    except orjson.JSONDecodeError as exc:
        raise ServerError(f"a watch of {resource} sent a line that is no JSON") from exc
    if event["type"] == "ERROR":
        status = event["object"]
        raise error_from_status(
            int(status.get("code") or 500), reason=status.get("reason"), message=str(status.get("message") or "")
        )
    return WatchEvent(event["type"], _typed(event["object"], resource))
