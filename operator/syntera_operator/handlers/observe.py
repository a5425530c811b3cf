"""What handlers do with an event: hand it on."""

from typing import Any, Protocol

import kopf

from syntera_kube import Resource

from ..manifest import Manifest


class Observe(Protocol):
    """Takes a kind and an object of it as the API server sent it.

    `listed`: it stood in a list of all, so that what was deleted before that list nobody tells any more.
    """

    def __call__(self, resource: Resource, obj: Manifest, /, *, deleted: bool, listed: bool) -> None: ...


def register_observer(registry: kopf.OperatorRegistry, resource: Resource, observe: Observe) -> None:
    """Have every event of a kind handed on. `on.event` leaves no trace in the cluster: no annotation, no finalizer."""

    @kopf.on.event(resource.group, resource.version, resource.plural, registry=registry)
    async def observed(event: kopf.RawEvent, **_: Any) -> None:
        type_ = event["type"]
        observe(resource, dict(event["object"]), deleted=type_ == "DELETED", listed=type_ is None)
