"""A tenant's webhooks: endpoints that are told what happens."""

from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any
from uuid import UUID

from .calls import Caller, Request, once, segment
from .models import Page
from .pages import read_pages
from .webhook_models import CreatedWebhook, Delivery, Webhook, WebhookList, WebhookSecret

_PATH = "/v1/webhooks"


class Webhooks:
    """Makes, changes and deletes webhooks, and shows what they were told; the credentials need the scope `admin`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def create(
        self, url: str, *, events: Iterable[str] = (), description: str = "", thin: bool = False
    ) -> CreatedWebhook:
        """Have an endpoint told what happens from now on. Keep its secret: signatures are checked with it.

        It is not tried again where the first try may have made a webhook that nobody has seen.

        Args:
            events: Types that it is told of. None of them: all, those of later releases too.
            thin: It gets ids and states, and nothing that people wrote.

        Raises:
            InvalidRequest: The tenant may not connect to the URL.
            Conflict: There are as many as there can be.
        """
        body = {"url": url, "events": _names(events), "description": description, "thin": thin}
        return await self._caller.get(CreatedWebhook, Request("POST", _PATH, body=body, is_repeatable=False))

    async def list(self) -> Sequence[Webhook]:
        """All of them, oldest first."""
        return (await self._caller.get(WebhookList, Request("GET", _PATH))).items

    async def get(self, webhook_id: UUID | str) -> Webhook:
        """One of them.

        Raises:
            NotFound: There is none with that id.
        """
        return await self._caller.get(Webhook, Request("GET", _of(webhook_id)))

    async def change(
        self,
        webhook_id: UUID | str,
        *,
        url: str | None = None,
        events: Iterable[str] | None = None,
        description: str | None = None,
        thin: bool | None = None,
        enabled: bool | None = None,
    ) -> Webhook:
        """Change it, stop it, or enable it again. What is None stays as it is.

        Raises:
            NotFound: There is none with that id.
        """
        wanted: dict[str, Any] = {
            "url": url,
            "events": None if events is None else _names(events),
            "description": description,
            "thin": thin,
            "enabled": enabled,
        }
        body = {name: value for name, value in wanted.items() if value is not None}
        return await self._caller.get(Webhook, Request("PATCH", _of(webhook_id), body=body))

    async def delete(self, webhook_id: UUID | str) -> None:
        """Tell it nothing more, and forget it.

        Raises:
            NotFound: There is none with that id.
        """
        # The second of two would be told that there is no such webhook, which the first has deleted.
        await self._caller.call(Request("DELETE", _of(webhook_id), is_repeatable=False))

    async def secret(self, webhook_id: UUID | str) -> WebhookSecret:
        """What it checks signatures with.

        Raises:
            NotFound: There is none with that id.
        """
        return await self._caller.get(WebhookSecret, Request("GET", f"{_of(webhook_id)}/secret"))

    async def rotate_secret(self, webhook_id: UUID | str) -> WebhookSecret:
        """Give it another secret; for a day the one before signs as well.

        It is not tried again where the first try may have replaced the secret: a second one would end the secret that the
        endpoint has.

        Raises:
            NotFound: There is none with that id.
        """
        request = Request("POST", f"{_of(webhook_id)}/rotate-secret", is_repeatable=False)
        return await self._caller.get(WebhookSecret, request)

    async def test(self, webhook_id: UUID | str, *, idempotency_key: str | None = None) -> Delivery:
        """Tell it an event `webhook.test`.

        Raises:
            NotFound: There is none with that id.
            Conflict: It is disabled.
        """
        request = Request("POST", f"{_of(webhook_id)}/test", headers=once(idempotency_key))
        return await self._caller.get(Delivery, request)

    def deliveries(self, webhook_id: UUID | str, *, page_size: int = 50) -> AsyncGenerator[Delivery, None]:
        """What it was told and is going to be told, newest first, page by page as they are read.

        Raises:
            NotFound: There is none with that id.
        """
        return read_pages(self._caller, Page[Delivery], f"{_of(webhook_id)}/deliveries", {"limit": page_size})

    async def redeliver(
        self, webhook_id: UUID | str, delivery_id: UUID | str, *, idempotency_key: str | None = None
    ) -> Delivery:
        """Have an event told again; one that is pending stays as it is.

        Raises:
            NotFound: There is no such delivery.
            Conflict: The webhook is disabled.
        """
        path = f"{_of(webhook_id)}/deliveries/{segment(delivery_id)}/redeliver"
        return await self._caller.get(Delivery, Request("POST", path, headers=once(idempotency_key)))


def _of(webhook_id: UUID | str) -> str:
    return f"{_PATH}/{segment(webhook_id)}"


def _names(events: Iterable[str]) -> Sequence[str]:
    return [str(event) for event in events]
