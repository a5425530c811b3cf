"""Which problems each operation may answer, by status: from who may call it, what it takes, and what it names.

They stand in the OpenAPI description as examples, one for each code. An operation whose 404, 409 or 412 is not in the table shows every
problem of that status.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from ..errors import (
    AgentNotFound,
    ApiKeyNotFound,
    ApiKeyProtected,
    AudienceNotHeld,
    BodyTooLarge,
    BudgetExhausted,
    ChallengeFailed,
    ChallengeNeeded,
    ChallengeUnavailable,
    ClientDisconnected,
    ConfigurationError,
    ConversationBusy,
    ConversationEnded,
    ConversationNotFound,
    CredentialsMalformed,
    CredentialsMissing,
    CustomerRefused,
    DeliveryNotFound,
    DocumentNotFound,
    EventUnknown,
    FieldFault,
    FileAttached,
    FileNotFound,
    FileOvertaken,
    FileTooLarge,
    FileTypeRefused,
    FileUnavailable,
    Forbidden,
    IdentityExpired,
    IdentityRefused,
    ImagesNotTaken,
    InvalidCursor,
    InvalidRequest,
    IssuerUnavailable,
    KeyExpired,
    KeyRevoked,
    KeyUnknown,
    KnowledgeBaseNotFound,
    KnowledgeBaseNotReady,
    LinkExpired,
    LinkRefused,
    MalformedBody,
    MessageNotFound,
    MethodNotAllowed,
    ModelTimeout,
    ModelUnavailable,
    NotJoined,
    OriginNotAllowed,
    PublishableKeyNeeded,
    PublishableKeyRefused,
    RateLimited,
    RequestRepeated,
    RouteNotFound,
    ScopeMissing,
    ScopeNotHeld,
    SearchTimedOut,
    SecretJustRotated,
    SecretMissing,
    ShuttingDown,
    SigningKeyMissing,
    SignInNeeded,
    SourceNotFound,
    StoreUnavailable,
    SubjectChanged,
    SynteraError,
    TokenAlgorithmRefused,
    TokenAudienceRefused,
    TokenClaimMissing,
    TokenExpired,
    TokenIssuerUnknown,
    TokenKeyUnknown,
    TokenMalformed,
    TokenNotYetValid,
    TokenRefused,
    TokenSignatureInvalid,
    TokenTooLarge,
    TooManyFiles,
    TooManyJoined,
    TooManyKnowledgeBases,
    TooManyWebhooks,
    TransportRefused,
    TurnAbandoned,
    TurnLost,
    Unauthenticated,
    UnsupportedMediaType,
    UploadsNotTaken,
    VisitorTokenExpired,
    VisitorTokenRefused,
    WebhookDisabled,
    WebhookNotFound,
)
from .permissions import Credential, Requirement

Kind = type[SynteraError]

_OF_KEYS: tuple[Kind, ...] = (KeyUnknown, KeyExpired, KeyRevoked)
_OF_USERS: tuple[Kind, ...] = (
    TokenMalformed,
    TokenTooLarge,
    TokenIssuerUnknown,
    TokenAlgorithmRefused,
    TokenKeyUnknown,
    TokenSignatureInvalid,
    TokenClaimMissing,
    TokenAudienceRefused,
    TokenExpired,
    TokenNotYetValid,
)
_OF_VISITORS: tuple[Kind, ...] = (VisitorTokenRefused, VisitorTokenExpired)
_ELSEWHERE = (
    ConfigurationError,
    TokenRefused,
    TurnAbandoned,
    Unauthenticated,
    Forbidden,
    RouteNotFound,
    MethodNotAllowed,
    ClientDisconnected,
    TransportRefused,
    EventUnknown,
    SubjectChanged,
    NotJoined,
    TooManyJoined,
)
"""Never an answer of an operation: base classes, the internal port's, sockets', what is only stored."""


class Body(StrEnum):
    """What an operation takes."""

    NONE = "none"
    JSON = "json"
    FILE = "file"


SPECIAL: Mapping[str, Mapping[int, tuple[Kind, ...]]] = {
    "startConversation": {403: (SignInNeeded,), 404: (AgentNotFound,), 409: (RequestRepeated,)},
    "getAgent": {403: (SignInNeeded,), 404: (AgentNotFound,)},
    "sendMessage": {
        403: (SignInNeeded,),
        404: (ConversationNotFound, AgentNotFound, FileNotFound),
        409: (ConversationBusy, ConversationEnded, FileAttached, RequestRepeated),
        503: (ModelUnavailable, SecretMissing, FileUnavailable, ShuttingDown, TurnLost),
    },
    "createChatCompletion": {
        400: (ImagesNotTaken,),
        404: (AgentNotFound,),
        429: (BudgetExhausted,),
        503: (ModelUnavailable, SecretMissing, ShuttingDown),
    },
    "getModel": {404: (AgentNotFound,)},
    "deleteConversation": {404: (ConversationNotFound,), 409: (ConversationBusy,)},
    "putFeedback": {404: (ConversationNotFound, MessageNotFound)},
    "deleteFeedback": {404: (ConversationNotFound, MessageNotFound)},
    "putMarks": {404: (ConversationNotFound, MessageNotFound)},
    "createApiKey": {403: (ScopeNotHeld,)},
    "revokeApiKey": {403: (ApiKeyProtected,), 404: (ApiKeyNotFound,)},
    "getIdentitySecret": {404: (ApiKeyNotFound,)},
    "createFile": {409: (TooManyFiles, FileOvertaken, RequestRepeated)},
    "deleteFile": {404: (FileNotFound,), 409: (FileAttached,)},
    "searchKnowledgeBase": {
        403: (AudienceNotHeld,),
        404: (KnowledgeBaseNotFound,),
        409: (KnowledgeBaseNotReady,),
        503: (ModelUnavailable, SecretMissing),
        504: (SearchTimedOut, ModelTimeout),
    },
    "createDocument": {
        403: (AudienceNotHeld,),
        404: (KnowledgeBaseNotFound, SourceNotFound),
        409: (UploadsNotTaken, FileOvertaken, RequestRepeated, TooManyKnowledgeBases),
    },
    "listChunks": {404: (KnowledgeBaseNotFound, DocumentNotFound), 409: (KnowledgeBaseNotReady,)},
    "createWebhook": {409: (TooManyWebhooks,), 503: (SigningKeyMissing,)},
    "getWebhookSecret": {404: (WebhookNotFound,), 503: (SigningKeyMissing,)},
    "rotateWebhookSecret": {404: (WebhookNotFound,), 409: (SecretJustRotated,), 503: (SigningKeyMissing,)},
    "testWebhook": {404: (WebhookNotFound, DeliveryNotFound), 409: (WebhookDisabled,)},
    "redeliver": {404: (WebhookNotFound, DeliveryNotFound), 409: (WebhookDisabled,)},
    "createVisitorToken": {
        401: (IdentityRefused, IdentityExpired, *_OF_USERS, *_OF_VISITORS),
        403: (ChallengeNeeded, ChallengeFailed),
        503: (IssuerUnavailable, ChallengeUnavailable),
    },
    **{
        operation: {404: (ConversationNotFound,)}
        for operation in (
            "getConversation",
            "changeConversation",
            "exportConversation",
            "listMessages",
            "followConversation",
            "stopTurn",
            "getConversationUsage",
        )
    },
    **{
        operation: {404: (FileNotFound,)}
        for operation in ("getFile", "getFileContent", "createFileLink", "followFileLink")
    },
    **{operation: {404: (KnowledgeBaseNotFound,)} for operation in ("getKnowledgeBase", "listSyncs", "listDocuments")},
    "requestSync": {404: (KnowledgeBaseNotFound,), 409: (TooManyKnowledgeBases,)},
    **{
        operation: {404: (KnowledgeBaseNotFound, DocumentNotFound)}
        for operation in ("getDocument", "deleteDocument", "reingestDocument")
    },
    **{
        operation: {404: (WebhookNotFound,)}
        for operation in ("getWebhook", "changeWebhook", "deleteWebhook", "listDeliveries")
    },
}
"""Problems that belong to an operation, beside those that its callers and its form bring along."""


def problems_of(
    operation_id: str, status: int, requirement: Requirement, *, body: Body, has_cursor: bool
) -> Sequence[SynteraError]:
    """The problems that an operation may answer with a status, one of each code."""
    special = SPECIAL.get(operation_id, {}).get(status, ())
    kinds = (*_general(status, requirement, body=body, has_cursor=has_cursor), *special)
    if not kinds:
        kinds = tuple(kind for kind in _all_kinds() if kind.status == status and kind not in _ELSEWHERE)
    return [_example(kind) for kind in dict.fromkeys(kinds)]


def _general(status: int, requirement: Requirement, *, body: Body, has_cursor: bool) -> tuple[Kind, ...]:
    match status:
        case 400 | 413 | 415:
            return _unfit(status, body=body, has_cursor=has_cursor)
        case 401:
            return _unauthenticated(requirement)
        case 403:
            return _forbidden(requirement)
        case 429:
            return (RateLimited,)
        case 503:
            return _unavailable(requirement)
        case _:
            return ()


def _unfit(status: int, *, body: Body, has_cursor: bool) -> tuple[Kind, ...]:
    if status == 413:
        return (FileTooLarge,) if body is Body.FILE else (BodyTooLarge,)
    if status == 415:
        return (FileTypeRefused,) if body is Body.FILE else (UnsupportedMediaType,)
    bodies = (MalformedBody,) if body is Body.JSON else ()
    return (InvalidRequest, *bodies, *((InvalidCursor,) if has_cursor else ()))


def _unauthenticated(requirement: Requirement) -> tuple[Kind, ...]:
    users = _OF_USERS if Credential.USER_TOKEN in requirement.credentials else ()
    visitors = _OF_VISITORS if Credential.VISITOR_TOKEN in requirement.credentials else ()
    return (CredentialsMissing, CredentialsMalformed, *_OF_KEYS, *users, *visitors)


def _forbidden(requirement: Requirement) -> tuple[Kind, ...]:
    if requirement.is_signed:
        return (LinkRefused, LinkExpired)
    if not requirement.scopes:
        return (PublishableKeyNeeded, OriginNotAllowed)
    customers = OriginNotAllowed if requirement.is_for_customers else CustomerRefused
    return (PublishableKeyRefused, ScopeMissing, customers)


def _unavailable(requirement: Requirement) -> tuple[Kind, ...]:
    users = (IssuerUnavailable,) if Credential.USER_TOKEN in requirement.credentials else ()
    is_signed = Credential.VISITOR_TOKEN in requirement.credentials or not requirement.scopes
    return (StoreUnavailable, *users, *((SigningKeyMissing,) if is_signed else ()))


def _example(kind: Kind) -> SynteraError:
    if issubclass(kind, StoreUnavailable):
        return kind(store="PostgreSQL", retry_after_seconds=1)
    if kind is InvalidRequest:
        fault = FieldFault("body.title", "This field is required.", "missing")
        return InvalidRequest(f"The request is not valid: {fault.path}: {fault.message}", faults=[fault])
    return kind()


def _all_kinds() -> Iterable[Kind]:
    kinds: list[Kind] = [SynteraError]
    for kind in kinds:
        kinds += kind.__subclasses__()
        yield kind
