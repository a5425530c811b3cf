"""Turns what a request presents into who asks: a secret key, a token of an issuer, or a visitor's token."""

from datetime import UTC, datetime

from syntera_crds.contract.api_key import ApiKey, KeyKind

from ..errors import (
    CredentialsMalformed,
    PublishableKeyNeeded,
    PublishableKeyRefused,
    TokenExpired,
    VisitorTokenExpired,
)
from ..models.identity import Principal, Session, StoredApiKey
from ..models.ids import TenantId
from .contacts import Contacts
from .key_ring import KeyRing
from .key_use import KeyUse
from .origins import Origins
from .roles import CUSTOMER_SCOPES, SCOPES, roles_of
from .user_tokens import UserTokens
from .visitor_tokens import PREFIX, VisitorTokens


class Authenticator:
    """Knows everybody who may ask something of one tenant."""

    def __init__(
        self,
        tenant_id: TenantId,
        *,
        ring: KeyRing,
        use: KeyUse,
        visitor_tokens: VisitorTokens,
        user_tokens: UserTokens,
        contacts: Contacts,
        origins: Origins,
    ) -> None:
        self._tenant_id = tenant_id
        self._ring = ring
        self._use = use
        self._visitor_tokens = visitor_tokens
        self._user_tokens = user_tokens
        self._contacts = contacts
        self._origins = origins

    async def authenticate(self, text: str, *, origin: str | None) -> Session:
        """Who presents `text`, from a page of `origin` if it comes from a browser, and for how long.

        Raises:
            Unauthenticated: It is no valid key or token; its subclass says why.
            PublishableKeyRefused: It is a publishable key, which only buys visitors' tokens.
            OriginNotAllowed: It is a visitor's token, and pages of the origin may not use it.
            IssuerUnavailable: The keys of the token's issuer cannot be had.
            SigningKeyMissing: Visitors' tokens cannot be checked.
            StoreUnavailable: The key, or the contact, cannot be looked up.
        """
        if text.startswith(PREFIX):
            return await self._open_visitor_token(text, origin)
        if text.count(".") == 2:
            return await self._open_user_token(text)
        key = ApiKey.parse(text)
        if key is None:
            raise CredentialsMalformed
        if key.kind is KeyKind.PUBLISHABLE:
            raise PublishableKeyRefused
        stored = await self._ring.open(key)
        self._use.note(stored.id)
        principal = Principal(
            tenant_id=self._tenant_id, subject=f"key:{stored.id}", scopes=stored.scopes, key_id=stored.id
        )
        return Session(principal, lookup=stored.lookup)

    async def check(self, session: Session) -> None:
        """Return if credentials that were taken would still be.

        Costs next to nothing: signatures and secrets were checked when the session began, and keys are remembered.

        Raises:
            TokenExpired, VisitorTokenExpired: The token has ended.
            KeyUnknown, KeyRevoked, KeyExpired: The key is not alive any more.
            OriginNotAllowed: Pages of the origin may not use the visitor's token any more.
            TokenIssuerUnknown: The tenant trusts the token's issuer no more.
            StoreUnavailable: The key cannot be looked up.
        """
        self.check_token(session)
        key_id = session.principal.key_id
        if session.lookup is not None and key_id is not None:
            key = await self._ring.find(session.lookup, key_id)
            if key.kind is KeyKind.PUBLISHABLE:
                self._origins.check(session.origin, key)

    def check_token(self, session: Session) -> None:
        """What of `check` needs no store, and so can be told at any time.

        Raises:
            TokenExpired, VisitorTokenExpired: The token has ended.
            TokenIssuerUnknown: The tenant trusts the token's issuer no more.
        """
        if session.expires_at is not None and session.expires_at <= datetime.now(UTC):
            raise VisitorTokenExpired if session.issuer is None else TokenExpired
        if session.issuer is not None:
            self._user_tokens.check_issuer(session.issuer)

    async def open_publishable_key(self, text: str, *, origin: str | None) -> StoredApiKey:
        """The publishable key that is presented.

        Raises:
            CredentialsMalformed: It is no key, or mistyped.
            PublishableKeyNeeded: It is something else that is valid elsewhere.
            KeyUnknown, KeyRevoked, KeyExpired: The key is not alive.
            OriginNotAllowed: Pages of the origin may not use it.
            StoreUnavailable: The key cannot be looked up.
        """
        key = ApiKey.parse(text)
        if key is None and not text.startswith(PREFIX) and text.count(".") != 2:
            raise CredentialsMalformed
        if key is None or key.kind is not KeyKind.PUBLISHABLE:
            raise PublishableKeyNeeded
        stored = await self._ring.open(key)
        self._origins.check(origin, stored)
        self._use.note(stored.id)
        return stored

    async def _open_visitor_token(self, text: str, origin: str | None) -> Session:
        token = self._visitor_tokens.read(text)
        key = await self._ring.find(token.lookup, token.key_id)
        self._origins.check(origin, key)
        self._use.note(key.id)
        principal = Principal(
            tenant_id=self._tenant_id,
            subject=f"contact:{token.contact_id}",
            scopes=CUSTOMER_SCOPES,
            key_id=key.id,
            contact_id=token.contact_id,
            agents=key.agents or frozenset(),
            is_anonymous=token.is_anonymous,
        )
        return Session(principal, expires_at=token.expires_at, lookup=token.lookup, origin=origin)

    async def _open_user_token(self, text: str) -> Session:
        user = await self._user_tokens.read(text)
        subject = f"user:{user.external_id}"
        if user.role is not None:
            principal = Principal(
                tenant_id=self._tenant_id, subject=subject, scopes=SCOPES[user.role], roles=roles_of(user.role)
            )
        else:
            principal = Principal(
                tenant_id=self._tenant_id,
                subject=subject,
                scopes=CUSTOMER_SCOPES,
                contact_id=await self._contacts.of_user(user),
                is_anonymous=user.is_anonymous,
            )
        return Session(principal, expires_at=user.expires_at, issuer=user.issuer)
