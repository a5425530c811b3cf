"""The ids of things, each a type of its own."""

from typing import NewType
from uuid import UUID

TenantId = NewType("TenantId", UUID)
ApiKeyId = NewType("ApiKeyId", UUID)
ContactId = NewType("ContactId", UUID)
ConversationId = NewType("ConversationId", UUID)
TurnId = NewType("TurnId", UUID)
StreamId = NewType("StreamId", UUID)
MessageId = NewType("MessageId", UUID)
ActId = NewType("ActId", UUID)
FileId = NewType("FileId", UUID)
RequestKey = NewType("RequestKey", bytes)
"""Stands for one request of one principal, however often it is sent: 32 bytes."""
EventId = NewType("EventId", UUID)
WebhookId = NewType("WebhookId", UUID)
DeliveryId = NewType("DeliveryId", UUID)
KnowledgeBaseId = NewType("KnowledgeBaseId", UUID)
IndexId = NewType("IndexId", UUID)
DocumentId = NewType("DocumentId", UUID)
ChunkId = NewType("ChunkId", UUID)
SyncId = NewType("SyncId", UUID)
