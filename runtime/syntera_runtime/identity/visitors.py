"""Visitors of a tenant's websites: a publishable key buys them a token, which says the same contact as long as it is kept.

A site may vouch for who a visitor is, by an HMAC of its own id for the person or by a token of an issuer. The visitor is
then that contact, on any device, and what they began anonymously becomes the contact's. Who is new and for whom nobody vouches has
the Tenant's challenge to solve, if it has one.
"""

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..errors import IdentityExpired, IdentityRefused, VisitorTokenRefused
from ..ids import new_id
from ..models.identity import StoredApiKey
from ..models.ids import ContactId
from .challenges import NOTHING_SOLVED, Attempt, Challenges
from .contacts import Contacts
from .derived_keys import DerivedKeys
from .user_tokens import UserTokens
from .visitor_tokens import LIFETIME, REFRESH, VisitorToken, VisitorTokens

PROOF = timedelta(days=1)
"""How long a proof of identity holds. A token of an issuer ends by itself; an HMAC has no time in it and proves the same for ever."""


@dataclass(frozen=True, slots=True)
class HmacProof:
    """The site computed the HMAC-SHA-256 of its own id for the person with the key's identity secret."""

    external_id: str
    hmac: str
    """Hexadecimal."""


@dataclass(frozen=True, slots=True)
class TokenProof:
    """An issuer whom the Tenant trusts says who the person is."""

    token: str


Proof = HmacProof | TokenProof


@dataclass(frozen=True, slots=True)
class BoughtToken:
    """A visitor's token and what it says."""

    text: str
    token: VisitorToken
    moved_from: ContactId | None = None
    """The anonymous contact whose conversations have become this one's. None: there was none."""


class Visitors:
    """Gives out the tokens of one tenant's visitors."""

    def __init__(
        self,
        *,
        tokens: VisitorTokens,
        contacts: Contacts,
        users: UserTokens,
        keys: DerivedKeys,
        challenges: Challenges,
    ) -> None:
        self._tokens = tokens
        self._contacts = contacts
        self._users = users
        self._keys = keys
        self._challenges = challenges

    async def buy(
        self, key: StoredApiKey, *, previous: str | None, proof: Proof | None, attempt: Attempt = NOTHING_SOLVED
    ) -> BoughtToken:
        """A token for a visitor, new or known by the `previous` token, who is the person that `proof` proves.

        Raises:
            ChallengeNeeded, ChallengeFailed: The visitor is new, nobody vouches for them, and their browser has not solved
                the Tenant's challenge.
            ChallengeUnavailable: Nobody can say whether it has.
            VisitorTokenRefused: The previous token is none, or of another key.
            VisitorTokenExpired: It ended too long ago.
            IdentityExpired: It is of an identified visitor, whose last proof is too old.
            IdentityRefused: The proof does not hold.
            Unauthenticated: The issuer's token is refused; see `UserTokens.read`.
            IssuerUnavailable: The issuer's token cannot be checked.
            SigningKeyMissing: Nothing can be signed.
            StoreUnavailable: The contact cannot be looked up.
        """
        known = None if previous is None else self._read(previous, key)
        if known is None and proof is None:
            await self._challenges.check(attempt)
        contact_id, proven_at, is_nameless = await self._identify(key, known, proof)
        expires_at = self._tokens.now() + LIFETIME
        token = VisitorToken(
            contact_id, key.id, key.lookup, expires_at=expires_at, proven_at=proven_at, is_nameless=is_nameless
        )
        is_other = known is not None and known.contact_id != contact_id and known.proven_at is None
        moved_from = known.contact_id if known is not None and is_other else None
        return BoughtToken(self._tokens.write(token), token, moved_from)

    def _read(self, previous: str, key: StoredApiKey) -> VisitorToken:
        token = self._tokens.read(previous, grace=REFRESH)
        if token.key_id != key.id:
            raise VisitorTokenRefused
        return token

    async def _identify(
        self, key: StoredApiKey, known: VisitorToken | None, proof: Proof | None
    ) -> tuple[ContactId, datetime | None, bool]:
        """The visitor's contact, when they were proven to be it, and whether they are anonymous at whoever proved it."""
        now = self._tokens.now()
        if proof is not None:
            contact_id, is_nameless = await self._prove(key, proof)
            if known is not None and known.proven_at is None:
                await self._contacts.give_conversations(source=known.contact_id, target=contact_id)
            return contact_id, now, is_nameless
        if known is None:
            return ContactId(new_id()), None, False
        if known.proven_at is not None and known.proven_at + PROOF <= now:
            raise IdentityExpired
        return known.contact_id, known.proven_at, known.is_nameless

    async def _prove(self, key: StoredApiKey, proof: Proof) -> tuple[ContactId, bool]:
        match proof:
            case TokenProof():
                user = await self._users.read(proof.token)
                return await self._contacts.of_user(user), user.is_anonymous
            case HmacProof():
                secret = self._keys.of_identities(key.id)
                right = hmac.new(secret.encode(), proof.external_id.encode(), "sha256").hexdigest()
                if not hmac.compare_digest(right.encode(), proof.hmac.lower().encode()):
                    raise IdentityRefused
                self._users.refuse_of_issuers(proof.external_id)
                return await self._contacts.of_external_id(proof.external_id), False
