"""What the client reads is what the API describes, and whatever older and newer servers write."""

from typing import Any, get_args, get_origin
from uuid import UUID

import pytest
from pydantic import BaseModel

from syntera_runtime.api.app import build_public_app
from syntera_runtime.client import (
    audit_log,
    events,
    file_models,
    knowledge_models,
    models,
    usage_models,
    webhook_models,
)
from syntera_runtime.client.models import Conversation, ImagePart, Message, TextPart, UnknownPart
from syntera_runtime.models.conversations import MessageState, Role
from tests.runtime.builders import make_services

SCHEMAS: dict[str, Any] = build_public_app(make_services()).openapi()["components"]["schemas"]
READ_AS: dict[str, type[BaseModel]] = {
    "AgentView": models.Agent,
    "AgentList": models.AgentList,
    "FailureView": models.Failure,
    "MessageView": models.Message,
    "UsageView": models.Usage,
    "TurnView": models.Turn,
    "ConversationView": models.Conversation,
    "ConversationItem": models.ConversationItem,
    "StartedConversation": models.StartedConversation,
    "MarksView": models.Marks,
    "FeedbackView": models.Feedback,
    "TranscriptView": models.Transcript,
    "StopRequested": models.StopRequested,
    "ApiKeyView": models.ApiKeyInfo,
    "CreatedApiKey": models.CreatedApiKey,
    "IdentitySecret": models.IdentitySecret,
    "VisitorTokenView": models.VisitorToken,
    "AttachmentView": models.Attachment,
    "TextPartView": models.TextPart,
    "ImagePartView": models.ImagePart,
    "FilePartView": models.FilePart,
    "CitationPartView": models.CitationPart,
    "CitationView": models.Citation,
    "KnowledgeSearchView": models.KnowledgeSearch,
    "KnowledgeRetrievalView": models.KnowledgeRetrieval,
    "LimitView": models.Limit,
    "FileView": file_models.File,
    "FileLinkView": file_models.FileLink,
    "CostView": usage_models.Cost,
    "BudgetView": usage_models.BudgetState,
    "UsageCountView": usage_models.UsageCount,
    "UsageItem": usage_models.UsageItem,
    "UsageReportView": usage_models.UsageReport,
    "ConversationUsageView": usage_models.ConversationUsage,
    "ActView": audit_log.Act,
    "SourceView": knowledge_models.Source,
    "EmbeddingModelView": knowledge_models.EmbeddingModel,
    "ChunkingView": knowledge_models.Chunking,
    "RetrievalView": knowledge_models.Retrieval,
    "DocumentCountsView": knowledge_models.DocumentCounts,
    "IndexView": knowledge_models.Index,
    "SyncCountsView": knowledge_models.SyncCounts,
    "SyncFailureView": knowledge_models.SyncFailure,
    "SyncView": knowledge_models.Sync,
    "SyncRequested": knowledge_models.SyncRequested,
    "KnowledgeBaseView": knowledge_models.KnowledgeBase,
    "KnowledgeBaseList": knowledge_models.KnowledgeBaseList,
    "DocumentFailureView": knowledge_models.DocumentFailure,
    "DocumentView": knowledge_models.Document,
    "ChunkView": knowledge_models.Chunk,
    "PassageView": knowledge_models.Passage,
    "SearchStageView": knowledge_models.SearchStage,
    "SearchView": knowledge_models.SearchResult,
    "WebhookView": webhook_models.Webhook,
    "WebhookList": webhook_models.WebhookList,
    "CreatedWebhook": webhook_models.CreatedWebhook,
    "WebhookSecretView": webhook_models.WebhookSecret,
    "DeliveryView": webhook_models.Delivery,
    "FaultView": models.Fault,
    "Problem": models.Problem,
    "MessageStarted": events.MessageStarted,
    "MessageRetrieval": events.MessageRetrieval,
    "MessageDelta": events.MessageDelta,
    "MessageCitation": events.MessageCitation,
    "MessageSnapshot": events.MessageSnapshot,
    "MessageCompleted": events.MessageCompleted,
    "MessageStopped": events.MessageStopped,
    "MessageFailed": events.MessageFailed,
    "TurnUsage": events.TurnUsage,
    "StreamEnded": events.StreamEnded,
}
MESSAGE = {
    "id": "01890a5d-ac96-774b-bcce-b302099a8057",
    "conversationId": "01890a5d-ac96-774b-bcce-b302099a8058",
    "role": "assistant",
    "createdAt": "2026-11-01T12:00:00Z",
}


@pytest.mark.parametrize("schema", READ_AS)
def test_client_reads_every_field_that_is_written(schema: str) -> None:
    """A field that is added to a view belongs into the client's model, too."""
    described = SCHEMAS[schema]["properties"].keys()
    # Of events the number comes beside the data.
    read = {field.alias or name for name, field in READ_AS[schema].model_fields.items()} - ({"number"} - described)
    assert read == described


@pytest.mark.parametrize("schema", READ_AS)
def test_client_takes_null_where_it_may_be_written(schema: str) -> None:
    for name, field in READ_AS[schema].model_fields.items():
        if name not in SCHEMAS[schema]["properties"] and name == "number":
            continue
        described = SCHEMAS[schema]["properties"][field.alias or name]
        may_be_null = {"type": "null"} in described.get("anyOf", [])
        takes_null = get_origin(field.annotation) is not None and type(None) in get_args(field.annotation)
        assert not may_be_null or takes_null, name


def test_every_view_has_a_model() -> None:
    """What the API writes and no client reads would be a gap; OpenAI's shapes have their own client."""
    inputs = {"HmacIdentity", "TokenIdentity"}
    views = {
        name
        for name, schema in SCHEMAS.items()
        if name.endswith("View") and "object" not in schema.get("properties", {}) and name not in inputs
    }
    assert views <= READ_AS.keys()


def test_fields_of_newer_servers_are_passed_over() -> None:
    assert Message.model_validate({**MESSAGE, "invented": {"deep": 1}}).role is Role.ASSISTANT


def test_fields_that_older_servers_do_not_write_have_a_default() -> None:
    message = Message.model_validate(MESSAGE)
    assert (message.id, message.state, message.content) == (UUID(MESSAGE["id"]), MessageState.COMPLETE, "")


def test_words_that_only_newer_servers_know_stay_what_they_are() -> None:
    conversation = Conversation.model_validate(
        {
            "id": MESSAGE["id"],
            "agent": "travel",
            "state": "with-human",
            "createdAt": "2026-11-01T12:00:00Z",
            "updatedAt": "2026-11-01T12:00:00Z",
        }
    )
    assert conversation.state == "with-human"


def test_parts_of_types_that_only_newer_servers_know_are_kept_apart() -> None:
    file = {"id": MESSAGE["id"], "name": "a.png", "mediaType": "image/png", "bytes": 7}
    parts = [{"type": "text", "text": "Hi"}, {"type": "image", "file": file}, {"type": "card", "title": "Order 7"}]
    read = Message.model_validate({**MESSAGE, "parts": parts}).parts
    assert [type(part) for part in read] == [TextPart, ImagePart, UnknownPart]
    assert read[2].type == "card"


def test_citations_of_a_message_are_read() -> None:
    citation = {"number": 1, "knowledgeBase": "handbook", "documentId": MESSAGE["id"], "start": 0, "end": 9, "newer": 1}
    parts = [{"type": "text", "text": "At nine [1]."}, {"type": "citation", "citation": citation}]
    message = Message.model_validate({**MESSAGE, "parts": parts, "refused": "too-tired"})
    assert [(one.number, one.end, one.url) for one in message.citations] == [(1, 9, None)]
    assert message.refused == "too-tired"


def test_what_was_looked_up_for_a_message_is_read() -> None:
    retrieval = {"searches": [], "passages": 0, "milliseconds": 5001, "failure": "search-timed-out", "newer": 1}
    message = Message.model_validate({**MESSAGE, "retrieval": retrieval})
    assert message.retrieval is not None
    assert (message.retrieval.passages, message.retrieval.failure) == (0, "search-timed-out")
    assert Message.model_validate(MESSAGE).retrieval is None


def test_union_is_read_from_the_left() -> None:
    """Else a known word would be a text, and no member of its list."""
    assert type(Message.model_validate({**MESSAGE, "state": "stopped"}).state) is MessageState
