"""Puts the parts together that tell who asks, the same way in every process and test."""

from dataclasses import dataclass

from ..metrics import Metrics
from ..models.ids import TenantId
from ..ports.configuration import Secrets, TenantCatalogue
from ..ports.identity import ApiKeyStore, ChallengeVerifier, ContactStore, KeyRegister, KeySets, SigningKey
from .authenticator import Authenticator
from .challenges import Challenges
from .contacts import Contacts
from .derived_keys import DerivedKeys
from .issuer_keys import IssuerKeys
from .key_management import KeyManagement
from .key_ring import KeyRing
from .key_use import KeyUse
from .origins import Origins
from .user_tokens import UserTokens
from .visitor_tokens import VisitorTokens
from .visitors import Visitors


@dataclass(frozen=True, slots=True)
class Identity:
    """Everything that tells who asks one tenant."""

    authenticator: Authenticator
    key_management: KeyManagement
    key_use: KeyUse
    visitors: Visitors
    origins: Origins
    derived_keys: DerivedKeys


def build_identity(
    tenant_id: TenantId,
    *,
    catalogue: TenantCatalogue,
    keys: ApiKeyStore,
    register: KeyRegister,
    contacts: ContactStore,
    signing_key: SigningKey,
    key_sets: KeySets,
    secrets: Secrets,
    challenge_verifier: ChallengeVerifier,
    metrics: Metrics,
) -> Identity:
    """The parts of one tenant."""
    ring, use, derived = KeyRing(keys, tenant_id), KeyUse(register, tenant_id), DerivedKeys(signing_key, tenant_id)
    origins = Origins(catalogue, register, tenant_id)
    tokens, users = VisitorTokens(derived, tenant_id), UserTokens(catalogue, IssuerKeys(key_sets))
    known = Contacts(contacts, tenant_id)
    challenges = Challenges(catalogue, secrets, challenge_verifier, metrics=metrics)
    return Identity(
        authenticator=Authenticator(
            tenant_id,
            ring=ring,
            use=use,
            visitor_tokens=tokens,
            user_tokens=users,
            contacts=known,
            origins=origins,
        ),
        key_management=KeyManagement(register, ring, derived),
        key_use=use,
        visitors=Visitors(tokens=tokens, contacts=known, users=users, keys=derived, challenges=challenges),
        origins=origins,
        derived_keys=derived,
    )
