"""For whom a search is made: who asks decides which documents there are, never the request."""

from syntera_crds.contract.knowledge_config import AUTHENTICATED, PUBLIC

from ..models.identity import Principal


def audience_of(principal: Principal) -> frozenset[str]:
    """The audiences whose documents the principal may be answered from.

    A program with a secret key speaks for whoever is behind it, so it gets what everybody may know.
    """
    if principal.contact_id is not None:
        return frozenset({PUBLIC} if principal.is_anonymous else {PUBLIC, AUTHENTICATED})
    if principal.key_id is not None:
        return frozenset({PUBLIC})
    return frozenset({PUBLIC, AUTHENTICATED}) | principal.roles
