"""Which contact a person is: found or made once, then remembered for a short while."""

import time
from collections import OrderedDict
from collections.abc import Callable

from ..models.ids import ContactId, TenantId
from ..ports.identity import ContactStore
from .user_tokens import User

TTL_SECONDS = 60.0
"""So often at most a contact's `last_seen_at` is written, too."""
MAX_REMEMBERED = 4096
_SITE = "site:"
"""Before the ids of people for whom a site vouches."""


class Contacts:
    """The contacts of one tenant, by what they are known by outside."""

    def __init__(
        self, store: ContactStore, tenant_id: TenantId, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._tenant_id = tenant_id
        self._monotonic = monotonic
        self._remembered: OrderedDict[str, tuple[float, ContactId]] = OrderedDict()

    async def of_user(self, user: User) -> ContactId:
        """The contact of somebody whom an issuer knows.

        Raises:
            StoreUnavailable: It cannot be looked up.
        """
        return await self._find(user.external_id, name=user.name, email=user.email)

    async def of_external_id(self, external_id: str) -> ContactId:
        """The contact whom the tenant's site vouches for.

        Raises:
            StoreUnavailable: It cannot be looked up.
        """
        # People of issuers begin with the issuer's URL: no site can spell one of theirs, not even of an issuer that was removed.
        return await self._find(f"{_SITE}{external_id}", name=None, email=None)

    async def give_conversations(self, *, source: ContactId, target: ContactId) -> None:
        """Make the conversations of an anonymous visitor those of the person that turned out to be the same.

        Raises:
            StoreUnavailable: They are not moved.
        """
        if source != target:
            await self._store.move_conversations(self._tenant_id, source=source, target=target)

    async def _find(self, external_id: str, *, name: str | None, email: str | None) -> ContactId:
        asked_at = self._monotonic()
        remembered_at, contact_id = self._remembered.get(external_id, (None, None))
        if remembered_at is not None and contact_id is not None and asked_at - remembered_at < TTL_SECONDS:
            return contact_id
        contact = await self._store.identify_contact(self._tenant_id, external_id, name=name, email=email)
        self._remembered[external_id] = (asked_at, contact.id)
        self._remembered.move_to_end(external_id)
        while len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)
        return contact.id
