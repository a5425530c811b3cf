"""For whom a search is made, and who may look at a document: who asks decides which documents there are, never the request."""

from syntera_crds.contract.api_key import Scope
from syntera_crds.contract.knowledge_config import AUTHENTICATED, PUBLIC

from ..models.identity import Principal
from ..models.ids import ContactId
from ..models.knowledge import Document


def audience_of(principal: Principal, *, customer: ContactId | None = None) -> frozenset[str]:
    """The audiences whose documents the principal may be answered from.

    A program with a secret key speaks for whoever is behind it, so it gets what everybody may know. So does one of the tenant's
    people in the conversation of a customer, who reads the answer too, and of whom nobody knows here whether they signed in.

    Args:
        principal: Who asks.
        customer: Whose conversation it is asked in. None: one of the tenant's own side, or in none.
    """
    if principal.contact_id is not None:
        return frozenset({PUBLIC} if principal.is_anonymous else {PUBLIC, AUTHENTICATED})
    if principal.key_id is not None or customer is not None:
        return frozenset({PUBLIC})
    return frozenset({PUBLIC, AUTHENTICATED}) | principal.roles


def reach_of(principal: Principal) -> frozenset[str] | None:
    """Whose documents somebody of the tenant's own side may look at who manages knowledge. None: everybody's.

    A program's key opens what its scopes say, and administrators may see everything.
    """
    if principal.key_id is not None or principal.may(Scope.ADMIN):
        return None
    return audience_of(principal)


def may_see(principal: Principal, document: Document) -> bool:
    """Whether the document is there for the principal, who manages knowledge."""
    reach = reach_of(principal)
    return reach is None or not reach.isdisjoint(document.facts.audience)
