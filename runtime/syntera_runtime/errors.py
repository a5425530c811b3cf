"""Everything that can go wrong in the runtime, as one tree.

Each class has a stable `code`, an HTTP `status`, a `title` for people and says whether trying again may help
(`retryable`). Its docstring is its default message. A message may reach the client and the log: it names our objects
and never carries user text, a key, a prompt or a vendor's words.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from inspect import cleandoc
from typing import ClassVar
from uuid import UUID


class SynteraError(Exception):
    """Something went wrong inside the service."""

    code: ClassVar[str] = "internal-error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str | None = None, *, retry_after_seconds: float | None = None) -> None:
        self.message = message or cleandoc(type(self).__doc__ or "")
        self.retry_after_seconds = retry_after_seconds
        """When trying again makes sense; None: not known."""
        super().__init__(self.message)


class ConfigurationError(SynteraError):
    """The process's settings are not usable."""

    code = "configuration-error"
    title = "Configuration error"


# ---- the request ----


@dataclass(frozen=True, slots=True)
class FieldFault:
    """What is wrong with one place of a request."""

    path: str
    """Where, in dots: `body.content`, `query.limit`."""
    message: str
    code: str
    """The kind of fault, from pydantic's list: `missing`, `extra_forbidden`, `string_too_long` ..."""


class InvalidRequest(SynteraError):
    """The request is not valid."""

    code = "invalid-request"
    status = 400
    title = "Invalid request"

    def __init__(self, message: str | None = None, *, faults: Sequence[FieldFault] = ()) -> None:
        super().__init__(message)
        self.faults = tuple(faults)


class MalformedBody(InvalidRequest):
    """The request's body is not valid JSON."""

    code = "malformed-body"
    title = "Malformed body"


class InvalidCursor(InvalidRequest):
    """The cursor is none that this list gave out. Leave it out to begin at the start."""

    code = "invalid-cursor"
    title = "Invalid cursor"


class BodyTooLarge(SynteraError):
    """The request's body is too large."""

    code = "body-too-large"
    status = 413
    title = "Body too large"


class UnsupportedMediaType(SynteraError):
    """The request's body must be `application/json`."""

    code = "unsupported-media-type"
    status = 415
    title = "Unsupported media type"


class NotAcceptable(SynteraError):
    """None of the media types that the request accepts can be produced here."""

    code = "not-acceptable"
    status = 406
    title = "Not acceptable"


class RequestTimeout(SynteraError):
    """The request did not arrive in time."""

    code = "request-timeout"
    status = 408
    title = "Request timeout"
    retryable = True


class TransportRefused(SynteraError):
    """Socket.IO is served over WebSocket alone: connect with `transports: ["websocket"]`."""

    code = "transport-refused"
    status = 400
    title = "Transport refused"


class EventUnknown(SynteraError):
    """There is no such event. Look into the catalogue of events."""

    code = "event-unknown"
    status = 404
    title = "Event unknown"


class RouteNotFound(SynteraError):
    """There is nothing at this path."""

    code = "not-found"
    status = 404
    title = "Not found"


class MethodNotAllowed(SynteraError):
    """This path does not take this method."""

    code = "method-not-allowed"
    status = 405
    title = "Method not allowed"


# ---- who asks ----


class Unauthenticated(SynteraError):
    """The request carries no valid credentials."""

    code = "unauthenticated"
    status = 401
    title = "Not authenticated"


class CredentialsMissing(Unauthenticated):
    """Send an API key or a token in the header `Authorization: Bearer <key>`."""

    code = "credentials-missing"


class CredentialsMalformed(Unauthenticated):
    """The Authorization header holds no well-formed API key or token."""

    code = "credentials-malformed"


class KeyUnknown(Unauthenticated):
    """This API key does not exist here."""

    code = "key-unknown"


class KeyExpired(Unauthenticated):
    """This API key has expired."""

    code = "key-expired"


class KeyRevoked(Unauthenticated):
    """This API key was revoked."""

    code = "key-revoked"


class TokenMalformed(Unauthenticated):
    """This is no token of an issuer (JWT) that can be read."""

    code = "token-malformed"


class TokenTooLarge(Unauthenticated):
    """The token is too large. Have the issuer put less into it."""

    code = "token-too-large"


class TokenIssuerUnknown(Unauthenticated):
    """The token is of an issuer that this tenant does not trust."""

    code = "token-issuer-unknown"


class TokenAlgorithmRefused(Unauthenticated):
    """The token is signed by an algorithm that is not allowed for its issuer, or does not fit the issuer's key."""

    code = "token-algorithm-refused"


class TokenKeyUnknown(Unauthenticated):
    """The token is signed with a key that its issuer does not publish."""

    code = "token-key-unknown"


class TokenSignatureInvalid(Unauthenticated):
    """The token's signature is not its issuer's."""

    code = "token-signature-invalid"


class TokenClaimMissing(Unauthenticated):
    """The token lacks a claim that it must have: `iss`, `aud`, `sub` or `exp`."""

    code = "token-claim-missing"


class TokenAudienceRefused(Unauthenticated):
    """The token is meant for somebody else: its audience is none that this tenant takes."""

    code = "token-audience-refused"


class TokenExpired(Unauthenticated):
    """The token has expired. Get a new one from its issuer."""

    code = "token-expired"


class TokenNotYetValid(Unauthenticated):
    """The token is from the future, by its `nbf` or `iat`. Set the issuer's clock."""

    code = "token-not-yet-valid"


class VisitorTokenRefused(Unauthenticated):
    """This is no visitor's token of this tenant. Get a new one with the publishable key."""

    code = "visitor-token-refused"


class VisitorTokenExpired(Unauthenticated):
    """The visitor's token has expired. Get a new one with the publishable key."""

    code = "visitor-token-expired"


class IdentityRefused(Unauthenticated):
    """The proof of who the visitor is does not hold. Compute it from `externalId` with the key's identity secret."""

    code = "identity-refused"


class IdentityExpired(Unauthenticated):
    """Who the visitor is was proven too long ago. Send `identity` again."""

    code = "identity-expired"


class TokenRefused(Unauthenticated):
    """The internal API takes tokens of the operator only."""

    code = "token-refused"


class Forbidden(SynteraError):
    """The credentials do not allow this."""

    code = "forbidden"
    status = 403
    title = "Forbidden"


class PublishableKeyRefused(Forbidden):
    """Publishable keys (`syn_pk_...`) only buy visitors' tokens; use a secret key from a server of yours."""

    code = "publishable-key-refused"


class PublishableKeyNeeded(Forbidden):
    """This takes a publishable key (`syn_pk_...`)."""

    code = "publishable-key-needed"


class ScopeMissing(Forbidden):
    """The credentials lack the scope that this needs."""

    code = "scope-missing"


class CustomerRefused(Forbidden):
    """This is not for customers; it needs a secret key, or one of the tenant's own people."""

    code = "customer-refused"


class SignInNeeded(Forbidden):
    """This agent talks to people who signed in. Say who the visitor is."""

    code = "sign-in-needed"


class OriginNotAllowed(Forbidden):
    """Pages of this origin may not use this. Allow it in the Tenant, or for the publishable key."""

    code = "origin-not-allowed"


class ChallengeNeeded(Forbidden):
    """New visitors have a challenge to solve. Send what the browser gets for it as `challengeResponse`."""

    code = "challenge-needed"


class ChallengeFailed(Forbidden):
    """The challenge is not solved by this response, or the response was used before. Have the browser solve another one."""

    code = "challenge-failed"


class SubjectChanged(Forbidden):
    """A socket stays with whom it was opened for. Open another one for these credentials."""

    code = "subject-changed"


class ScopeNotHeld(Forbidden):
    """Nobody can give a key scopes that they do not hold themselves."""

    code = "scope-not-held"


class LinkRefused(Forbidden):
    """This link was not made here, or was changed. Ask for a new one."""

    code = "link-refused"


class LinkExpired(Forbidden):
    """The link has expired. Ask for a new one."""

    code = "link-expired"


class ApiKeyProtected(Forbidden):
    """The operator made this key, and replaces it itself. It cannot be revoked here."""

    code = "api-key-protected"


class RateLimited(SynteraError):
    """There were too many requests. Try again later."""

    code = "rate-limited"
    status = 429
    title = "Too many requests"
    retryable = True


class BudgetExhausted(SynteraError):
    """The budget is used up."""

    code = "budget-exhausted"
    status = 429
    title = "Budget exhausted"


# ---- what is asked for ----


class AgentNotFound(SynteraError):
    """There is no such agent."""

    code = "agent-not-found"
    status = 404
    title = "Agent not found"


class ApiKeyNotFound(SynteraError):
    """There is no such API key."""

    code = "api-key-not-found"
    status = 404
    title = "API key not found"


class WebhookNotFound(SynteraError):
    """There is no such webhook."""

    code = "webhook-not-found"
    status = 404
    title = "Webhook not found"


class DeliveryNotFound(SynteraError):
    """There is no such delivery of the webhook."""

    code = "delivery-not-found"
    status = 404
    title = "Delivery not found"


class TooManyWebhooks(SynteraError):
    """There are as many webhooks as there can be. Delete one first."""

    code = "too-many-webhooks"
    status = 409
    title = "Too many webhooks"


class SecretJustRotated(SynteraError):
    """The secret before still signs. Rotate again when it does no more, or make another webhook."""

    code = "secret-just-rotated"
    status = 409
    title = "Secret just rotated"


class WebhookDisabled(SynteraError):
    """The webhook is disabled. Enable it first."""

    code = "webhook-disabled"
    status = 409
    title = "Webhook disabled"


class KnowledgeBaseNotFound(SynteraError):
    """There is no knowledge base of that name. `GET /v1/knowledge-bases` lists those that there are."""

    code = "knowledge-base-not-found"
    status = 404
    title = "Knowledge base not found"


class TooManyKnowledgeBases(SynteraError):
    """There is room for 250 knowledge bases, and others have it. Delete one that is not needed, then ask for a sync of this one."""

    code = "too-many-knowledge-bases"
    status = 409
    title = "Too many knowledge bases"


class KnowledgeBaseNotReady(SynteraError):
    """No sync of the knowledge base has come to its end yet, so there is nothing to search. Look at its syncs."""

    code = "knowledge-base-not-ready"
    status = 409
    title = "Knowledge base not ready"
    retryable = True


class SearchTimedOut(SynteraError):
    """The knowledge base was not searched through in time. Try again later."""

    code = "search-timed-out"
    status = 504
    title = "Search timed out"
    retryable = True


class DocumentNotFound(SynteraError):
    """There is no document with that id in the knowledge base."""

    code = "document-not-found"
    status = 404
    title = "Document not found"


class SourceNotFound(SynteraError):
    """The knowledge base has no source of that name."""

    code = "source-not-found"
    status = 404
    title = "Source not found"


class AudienceNotHeld(Forbidden):
    """You asked for documents that are for others than you. Name audiences that you belong to."""

    code = "audience-not-held"


class UploadsNotTaken(SynteraError):
    """The knowledge base has no source for uploads. Add one to the KnowledgeBase's `spec.sources`: `upload: {}`."""

    code = "uploads-not-taken"
    status = 409
    title = "Uploads not taken"


class ConversationNotFound(SynteraError):
    """There is no such conversation."""

    code = "conversation-not-found"
    status = 404
    title = "Conversation not found"


class MessageNotFound(SynteraError):
    """There is no such reply in the conversation."""

    code = "message-not-found"
    status = 404
    title = "Message not found"


class FileNotFound(SynteraError):
    """There is no such file."""

    code = "file-not-found"
    status = 404
    title = "File not found"


class FileAttached(SynteraError):
    """The file belongs to a message, and goes with its conversation."""

    code = "file-attached"
    status = 409
    title = "File attached"


class TooManyFiles(SynteraError):
    """There are too many files that no message has yet. Attach them, or delete some."""

    code = "too-many-files"
    status = 409
    title = "Too many files"


class FileTypeRefused(SynteraError):
    """Files of this kind are not taken. Send an image (PNG, JPEG, WebP, GIF), a PDF, an office document or plain text."""

    code = "file-type-refused"
    status = 415
    title = "File type refused"


class FileTooLarge(SynteraError):
    """The file is too large."""

    code = "file-too-large"
    status = 413
    title = "File too large"


class FileOvertaken(SynteraError):
    """The same request sends this file again, and is not done yet. Wait for that one, or send it once more."""

    code = "file-overtaken"
    status = 409
    title = "File overtaken"
    retryable = True


class FileUnavailable(SynteraError):
    """A file that was attached cannot be read now. Try again later."""

    code = "file-unavailable"
    status = 503
    title = "File unavailable"
    retryable = True


class ImagesNotTaken(SynteraError):
    """The agent's models take no images. Leave them out."""

    code = "images-not-taken"
    status = 400
    title = "Images not taken"


class NotJoined(SynteraError):
    """This socket is not in the conversation. Join it first."""

    code = "not-joined"
    status = 409
    title = "Not joined"


class TooManyJoined(SynteraError):
    """This socket is in as many conversations as it can be. Leave one first."""

    code = "too-many-joined"
    status = 409
    title = "Too many conversations"


class ConversationEnded(SynteraError):
    """The conversation has ended. Begin another one, or make this one active again."""

    code = "conversation-ended"
    status = 409
    title = "Conversation ended"


class RequestRepeated(SynteraError):
    """The request was made before, and what it made is there no more."""

    code = "request-repeated"
    status = 409
    title = "Request repeated"


class IdempotencyKeyReused(SynteraError):
    """The Idempotency-Key stands for another request. Take a new key for each new request."""

    code = "idempotency-key-reused"
    status = 422
    title = "Idempotency key reused"


class RevisionMismatch(SynteraError):
    """Somebody else has changed the conversation since you read it. Read it again, then decide."""

    code = "revision-mismatch"
    status = 412
    title = "Revision mismatch"


BUSY_SECONDS = 1.0
"""After which a busy conversation is worth asking again: nobody knows when a turn ends, and asking costs little."""


class ConversationBusy(SynteraError):
    """The conversation is still answering an earlier message. Wait for that answer, then send this one again."""

    code = "conversation-busy"
    status = 409
    title = "Conversation busy"
    retryable = True

    def __init__(self, message: str | None = None, *, turn_id: UUID | None = None, is_expired: bool = False) -> None:
        super().__init__(message, retry_after_seconds=BUSY_SECONDS)
        self.turn_id = turn_id
        """The turn that runs."""
        self.is_expired = is_expired
        """The lease of that turn has ended."""


# ---- a turn ----


class TurnLost(SynteraError):
    """The turn was ended by somebody else, because this process did not renew its lease in time."""

    code = "turn-lost"
    status = 503
    title = "Turn lost"
    retryable = True


class TurnAbandoned(SynteraError):
    """The process that ran this turn ended before the answer did."""

    code = "turn-abandoned"
    status = 503
    title = "Turn abandoned"
    retryable = True


class ShuttingDown(SynteraError):
    """The server was shut down before the answer was complete. Send the message again."""

    code = "shutting-down"
    status = 503
    title = "Shutting down"
    retryable = True


class ClientDisconnected(SynteraError):
    """The client closed the connection before the answer was complete."""

    code = "client-disconnected"
    status = 499
    title = "Client disconnected"


# ---- models ----


class ModelError(SynteraError):
    """The agent's model did not answer."""

    code = "model-error"
    status = 502
    title = "The model did not answer"

    def __init__(
        self, message: str | None = None, *, endpoint: str | None = None, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)
        self.endpoint = endpoint
        """The model endpoint's name in the Tenant; for logs and metrics."""


class ModelUnavailable(ModelError):
    """The agent's model cannot be reached, is overloaded, or broke off. Try again later."""

    code = "model-unavailable"
    status = 503
    title = "Model unavailable"
    retryable = True


class ModelTimeout(ModelError):
    """The agent's model did not answer in time. Try again later."""

    code = "model-timeout"
    status = 504
    title = "Model timed out"
    retryable = True


class ModelRefused(ModelError):
    """The agent's model refused the request. The tenant's administrator should check its endpoint and parameters."""

    code = "model-refused"
    status = 502
    title = "Model refused"


class SecretMissing(SynteraError):
    """A Secret that the agent's model needs is not there. The tenant's administrator should create it."""

    code = "secret-missing"
    status = 503
    title = "Secret missing"
    retryable = True


# ---- what credentials are checked with ----


class IssuerUnavailable(SynteraError):
    """The issuer of the token does not say what it signs with, so the token cannot be checked. Try again later."""

    code = "issuer-unavailable"
    status = 503
    title = "Issuer unavailable"
    retryable = True


class ChallengeUnavailable(SynteraError):
    """Nobody can say now whether the challenge is solved, so there are no new visitors. Try again later."""

    code = "challenge-unavailable"
    status = 503
    title = "Challenge unavailable"
    retryable = True


class SigningKeyMissing(SynteraError):
    """The tenant's signing key is not there, so visitors' tokens cannot be made or checked. Try again later."""

    code = "signing-key-missing"
    status = 503
    title = "Signing key missing"
    retryable = True


# ---- stores ----


class StoreUnavailable(SynteraError):
    """A store that this needs does not answer. Try again later."""

    code = "store-unavailable"
    status = 503
    title = "Store unavailable"
    retryable = True

    def __init__(self, message: str | None = None, *, store: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)
        self.store = store
        """Which: `PostgreSQL`, `Redis`, `S3`."""


def restore_error(code: str, message: str) -> SynteraError:
    """The error that a stored failure tells of. A code that this release does not know becomes an internal error."""
    kinds = [SynteraError]
    for kind in kinds:
        if kind.code == code and not issubclass(kind, StoreUnavailable):
            return kind(message)
        kinds += kind.__subclasses__()
    return SynteraError(message)


def code_of(error: BaseException) -> str:
    """A word of a closed list for what went wrong, for traces."""
    if isinstance(error, SynteraError):
        return error.code
    if isinstance(error, TimeoutError):
        return "timeout"
    return "cancelled" if isinstance(error, asyncio.CancelledError | GeneratorExit) else SynteraError.code
