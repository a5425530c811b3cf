"""Who may call which operation: one table for the whole public API, closed to whatever is not in it.

It is keyed by the operation's id. What a customer may do with an operation that is open to them, such as which
conversations there are, is decided where the data are: by the principal's contact and agents.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from syntera_crds.contract.api_key import Scope

from ..errors import CustomerRefused, ScopeMissing
from ..models.identity import Principal


class Credential(StrEnum):
    """The kinds of credentials, by the names that they have in the OpenAPI description."""

    SECRET_KEY = "apiKey"
    USER_TOKEN = "userToken"
    VISITOR_TOKEN = "visitorToken"
    PUBLISHABLE_KEY = "publishableKey"


@dataclass(frozen=True, slots=True)
class Requirement:
    """What an operation takes."""

    scopes: tuple[Scope, ...] = ()
    """Any of these is enough. Empty: it takes a publishable key, and nothing else, unless its address is signed."""
    is_for_customers: bool = False
    """Customers may call it, too: visitors, and people who signed in without a role."""
    is_recorded: bool = False
    """A record is kept of who of the tenant's own side did it: it changes what others rely on, or shows what is others'."""
    is_signed: bool = False
    """It takes no credentials: its address is one that was made here, and says so by a signature."""

    @property
    def credentials(self) -> tuple[Credential, ...]:
        """What it can be called with."""
        if self.is_signed:
            return ()
        if not self.scopes:
            return (Credential.PUBLISHABLE_KEY,)
        taken = (Credential.SECRET_KEY, Credential.USER_TOKEN)
        return (*taken, Credential.VISITOR_TOKEN) if self.is_for_customers else taken

    def check(self, principal: Principal) -> None:
        """Return if the principal may call the operation.

        Raises:
            CustomerRefused: It is not for customers.
            ScopeMissing: The principal lacks the scope.
        """
        if principal.contact_id is not None and not self.is_for_customers:
            raise CustomerRefused
        if not any(principal.may(scope) for scope in self.scopes):
            raise ScopeMissing(
                f"This needs credentials with the scope {' or '.join(repr(str(s)) for s in self.scopes)}."
            )


_READING_AGENTS = (Scope.AGENTS_READ, Scope.CHAT)
"""Who may talk to agents may see which there are."""
_READING_CONVERSATIONS = (Scope.CONVERSATIONS_READ, Scope.CHAT)
"""Who may talk in a conversation may read it, if it is named."""

PERMISSIONS: Mapping[str, Requirement] = {
    "listAgents": Requirement(_READING_AGENTS, is_for_customers=True),
    "getAgent": Requirement(_READING_AGENTS, is_for_customers=True),
    "startConversation": Requirement((Scope.CHAT,), is_for_customers=True),
    "getConversation": Requirement(_READING_CONVERSATIONS, is_for_customers=True),
    "sendMessage": Requirement((Scope.CHAT,), is_for_customers=True),
    "listMessages": Requirement(_READING_CONVERSATIONS, is_for_customers=True),
    "followConversation": Requirement(_READING_CONVERSATIONS, is_for_customers=True),
    "stopTurn": Requirement((Scope.CHAT,), is_for_customers=True),
    "putFeedback": Requirement((Scope.CHAT,), is_for_customers=True),
    "deleteFeedback": Requirement((Scope.CHAT,), is_for_customers=True),
    "putMarks": Requirement((Scope.CHAT,), is_for_customers=True),
    "listConversations": Requirement((Scope.CONVERSATIONS_READ,), is_for_customers=True),
    "exportConversation": Requirement((Scope.CONVERSATIONS_READ,), is_for_customers=True, is_recorded=True),
    "changeConversation": Requirement((Scope.CONVERSATIONS_WRITE,), is_recorded=True),
    "deleteConversation": Requirement((Scope.CONVERSATIONS_WRITE,), is_recorded=True),
    "createFile": Requirement((Scope.CHAT,), is_for_customers=True),
    "getFile": Requirement(_READING_CONVERSATIONS, is_for_customers=True),
    "getFileContent": Requirement(_READING_CONVERSATIONS, is_for_customers=True),
    "createFileLink": Requirement(_READING_CONVERSATIONS, is_for_customers=True),
    "deleteFile": Requirement((Scope.CHAT,), is_for_customers=True),
    "followFileLink": Requirement(is_signed=True),
    # Completions take any prompt and keep nothing of it: for the tenant's own programs, not for the world.
    "createChatCompletion": Requirement((Scope.CHAT,)),
    "listModels": Requirement(_READING_AGENTS),
    "getModel": Requirement(_READING_AGENTS),
    "createVisitorToken": Requirement(),
    "getUsage": Requirement((Scope.USAGE_READ,)),
    "getConversationUsage": Requirement((Scope.USAGE_READ,)),
    # What knowledge bases hold is found by customers through agents, and for whom a document is decides what they find.
    "listKnowledgeBases": Requirement((Scope.KNOWLEDGE_READ,)),
    "getKnowledgeBase": Requirement((Scope.KNOWLEDGE_READ,)),
    "listSyncs": Requirement((Scope.KNOWLEDGE_READ,)),
    "requestSync": Requirement((Scope.KNOWLEDGE_WRITE,), is_recorded=True),
    "searchKnowledgeBase": Requirement((Scope.KNOWLEDGE_READ,)),
    "listDocuments": Requirement((Scope.KNOWLEDGE_READ,)),
    "createDocument": Requirement((Scope.KNOWLEDGE_WRITE,), is_recorded=True),
    "getDocument": Requirement((Scope.KNOWLEDGE_READ,)),
    "deleteDocument": Requirement((Scope.KNOWLEDGE_WRITE,), is_recorded=True),
    "reingestDocument": Requirement((Scope.KNOWLEDGE_WRITE,), is_recorded=True),
    "listChunks": Requirement((Scope.KNOWLEDGE_READ,)),
    "createApiKey": Requirement((Scope.ADMIN,), is_recorded=True),
    "listApiKeys": Requirement((Scope.ADMIN,)),
    "revokeApiKey": Requirement((Scope.ADMIN,), is_recorded=True),
    "listActs": Requirement((Scope.ADMIN,)),
    "getIdentitySecret": Requirement((Scope.ADMIN,), is_recorded=True),
    # An endpoint is told everything that happens to everybody, so no narrower scope may make one.
    "createWebhook": Requirement((Scope.ADMIN,), is_recorded=True),
    "listWebhooks": Requirement((Scope.ADMIN,)),
    "getWebhook": Requirement((Scope.ADMIN,)),
    "changeWebhook": Requirement((Scope.ADMIN,), is_recorded=True),
    "deleteWebhook": Requirement((Scope.ADMIN,), is_recorded=True),
    "getWebhookSecret": Requirement((Scope.ADMIN,), is_recorded=True),
    "rotateWebhookSecret": Requirement((Scope.ADMIN,), is_recorded=True),
    "testWebhook": Requirement((Scope.ADMIN,)),
    "listDeliveries": Requirement((Scope.ADMIN,)),
    "redeliver": Requirement((Scope.ADMIN,), is_recorded=True),
}


def requirement_of(operation_id: str | None) -> Requirement:
    """What an operation takes.

    Raises:
        LookupError: It is not in the table, so nobody may call it and the API cannot be built.
    """
    if operation_id is None or operation_id not in PERMISSIONS:
        raise LookupError(f"the operation {operation_id!r} has no entry in PERMISSIONS")
    return PERMISSIONS[operation_id]
