"""What people think of replies, and how far they have read."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, status

from ..models.conversations import Marks
from ..models.ids import ConversationId, MessageId
from ..views.conversations import FeedbackView
from .auth import Asker
from .context import ConversationInPath, ServicesOfRequest
from .problems import problem_responses
from .routing import ApiRoute
from .schemas import FeedbackInput, MarksInput, MarksView

router = APIRouter(route_class=ApiRoute, tags=["messages"])

MessageInPath = Annotated[UUID, Path(alias="messageId")]


@router.put(
    "/v1/conversations/{conversationId}/messages/{messageId}/feedback",
    operation_id="putFeedback",
    responses=problem_responses(400, 404, 408, 413, 415, 503),
)
async def put_feedback(
    conversation_id: ConversationInPath,
    message_id: MessageInPath,
    feedback: FeedbackInput,
    services: ServicesOfRequest,
    asker: Asker,
) -> FeedbackView:
    """Say what you think of a reply. You have one say on each; a later one replaces it."""
    stored = await services.management.judge(
        asker,
        ConversationId(conversation_id),
        MessageId(message_id),
        rating=feedback.rating,
        comment=feedback.comment,
    )
    return FeedbackView.of(stored)


@router.delete(
    "/v1/conversations/{conversationId}/messages/{messageId}/feedback",
    operation_id="deleteFeedback",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problem_responses(400, 404, 408, 413, 415, 503),
)
async def delete_feedback(
    conversation_id: ConversationInPath, message_id: MessageInPath, services: ServicesOfRequest, asker: Asker
) -> None:
    """Take back what you thought of a reply."""
    await services.management.withdraw(asker, ConversationId(conversation_id), MessageId(message_id))


@router.put(
    "/v1/conversations/{conversationId}/marks",
    operation_id="putMarks",
    responses=problem_responses(400, 404, 408, 413, 415, 503),
)
async def put_marks(
    conversation_id: ConversationInPath, marks: MarksInput, services: ServicesOfRequest, asker: Asker
) -> MarksView:
    """Say how far you have read. Unread messages are counted from there; marks never go back."""
    read, delivered = marks.read_message_id, marks.delivered_message_id
    moved = await services.management.mark(
        asker,
        ConversationId(conversation_id),
        marks=Marks(
            read=None if read is None else MessageId(read),
            delivered=None if delivered is None else MessageId(delivered),
        ),
    )
    return MarksView.of(moved)
