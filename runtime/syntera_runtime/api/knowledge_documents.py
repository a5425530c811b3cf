"""Documents of knowledge bases: look at them, upload them, have them taken in anew, take them out.

A file comes as the body itself, as those of conversations do.
"""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response, status

from ..errors import FileOvertaken, RequestRepeated
from ..knowledge.uploads import Uploaded, most_bytes
from ..models.ids import DocumentId
from .audit import Recorded
from .auth import Asker
from .context import ServicesOfRequest
from .document_schemas import ChunkView, DocumentQuery, DocumentView, UploadQuery
from .idempotency import REPLAYED, WantedOnce
from .knowledge import KnowledgeBaseInPath
from .pages import PartQuery, make_chunk_cursor, make_cursor, read_chunk_cursor
from .problems import problem_responses
from .routing import ApiRoute, UploadRoute, read_upload
from .schemas import Page

router = APIRouter(route_class=ApiRoute, tags=["knowledge-bases"])
uploads = APIRouter(route_class=UploadRoute, tags=["knowledge-bases"])

DocumentInPath = Annotated[UUID, Path(alias="documentId")]

_DOCUMENTS = "/v1/knowledge-bases/{knowledgeBase}/documents"
_BYTES: dict[str, Any] = {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}
_KNOWN: dict[int | str, dict[str, Any]] = {
    200: {"model": DocumentView, "description": "The knowledge base has these bytes already."}
}


@router.get(_DOCUMENTS, operation_id="listDocuments", responses=problem_responses(400, 404, 503))
async def list_documents(
    knowledge_base: KnowledgeBaseInPath,
    query: Annotated[DocumentQuery, Query()],
    services: ServicesOfRequest,
    asker: Asker,
) -> Page[DocumentView]:
    """The documents, oldest first. Those that are for others than you are left out, so a page may have fewer than `limit`."""
    page = await services.knowledge.documents(
        asker,
        knowledge_base,
        source=query.source,
        state=query.state,
        words=query.q,
        after=query.after,
        limit=query.limit,
    )
    return Page(
        items=[DocumentView.of(document) for document in page.items],
        next_cursor=None if page.last is None else make_cursor(page.last),
    )


@uploads.post(
    _DOCUMENTS,
    operation_id="createDocument",
    status_code=status.HTTP_201_CREATED,
    responses={**_KNOWN, **problem_responses(400, 404, 408, 409, 413, 415, 422, 503)},
    openapi_extra={"requestBody": {"required": True, "content": {"*/*": _BYTES}}},
)
async def create_document(
    *,
    knowledge_base: KnowledgeBaseInPath,
    query: Annotated[UploadQuery, Query()],
    request: Request,
    response: Response,
    services: ServicesOfRequest,
    asker: Asker,
    request_key: WantedOnce,
    outcome: Recorded,
) -> DocumentView:
    """Upload a document, and have it taken in by a sync soon. The body is the file itself.

    PDFs, Word, PowerPoint and Excel documents, and text (Markdown, HTML, CSV, JSON) are taken. What a file is is told by its bytes: the
    `Content-Type` that you send counts for nothing. Bytes that the knowledge base has already make no second document: the answer is 200
    with the one that has them, as it is.
    """
    taking, wanted = services.knowledge_uploads, query.to_model()
    source = taking.source(knowledge_base, query.source)

    async def find_repeated() -> Uploaded | None:
        if request_key is None:
            return None
        return await taking.find_repeated(asker, knowledge_base, source, wanted, request_key=request_key)

    try:
        made = await find_repeated()
        if made is None:
            content = read_upload(request, services.limits, most_bytes=most_bytes(source))
            made = await taking.add(asker, knowledge_base, source, content, wanted, request_key=request_key)
    except (RequestRepeated, FileOvertaken) as error:  # sent twice in this very moment
        made = await find_repeated()
        if made is None:
            raise FileOvertaken from error
    outcome.targets["documentId"] = str(made.document.id)
    if made.is_replayed:
        response.headers.update(REPLAYED)
    if not made.is_new:
        response.status_code = status.HTTP_200_OK
    return DocumentView.of(made.document)


@router.get(f"{_DOCUMENTS}/{{documentId}}", operation_id="getDocument", responses=problem_responses(400, 404, 503))
async def get_document(
    knowledge_base: KnowledgeBaseInPath, document_id: DocumentInPath, services: ServicesOfRequest, asker: Asker
) -> DocumentView:
    """One document."""
    return DocumentView.of(await services.knowledge.document(asker, knowledge_base, DocumentId(document_id)))


@router.delete(
    f"{_DOCUMENTS}/{{documentId}}",
    operation_id="deleteDocument",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problem_responses(400, 404, 408, 413, 415, 503),
)
async def delete_document(
    knowledge_base: KnowledgeBaseInPath, document_id: DocumentInPath, services: ServicesOfRequest, asker: Asker
) -> None:
    """Take a document out at once. An uploaded one is gone; any other stays in the list as `excluded`, and syncs leave it out."""
    await services.knowledge.delete_document(asker, knowledge_base, DocumentId(document_id))


@router.post(
    f"{_DOCUMENTS}/{{documentId}}/reingest",
    operation_id="reingestDocument",
    status_code=status.HTTP_202_ACCEPTED,
    responses=problem_responses(400, 404, 408, 413, 415, 503),
)
async def reingest_document(
    knowledge_base: KnowledgeBaseInPath, document_id: DocumentInPath, services: ServicesOfRequest, asker: Asker
) -> DocumentView:
    """Have a document fetched, read and embedded anew by a sync soon, also one that was excluded."""
    made = await services.knowledge.reingest_document(asker, knowledge_base, DocumentId(document_id))
    return DocumentView.of(made)


@router.get(
    f"{_DOCUMENTS}/{{documentId}}/chunks",
    operation_id="listChunks",
    responses=problem_responses(400, 404, 409, 503),
)
async def list_chunks(
    knowledge_base: KnowledgeBaseInPath,
    document_id: DocumentInPath,
    query: Annotated[PartQuery, Query()],
    services: ServicesOfRequest,
    asker: Asker,
) -> Page[ChunkView]:
    """What the active index has of a document, in the order of its text."""
    after = None if query.cursor is None else read_chunk_cursor(query.cursor)
    page = await services.knowledge.chunks(
        asker, knowledge_base, DocumentId(document_id), after=after, limit=query.limit
    )
    return Page(
        items=[ChunkView.of(chunk) for chunk in page.items],
        next_cursor=None if page.last is None else make_chunk_cursor(page.last),
    )
