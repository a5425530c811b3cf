"""Files: send one, look at it, read it, get a link to it, delete it.

A file comes as the body itself, not in a form: so it can be written away while it comes, nothing has to be taken apart, and
every HTTP client can send one.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Body, Path, Query, Request, Response, status
from fastapi.responses import StreamingResponse
from pydantic import AfterValidator
from starlette.types import Receive, Scope, Send

from ..errors import FileNotFound, FileOvertaken, RequestRepeated
from ..files.links import Disposition
from ..models.files import File
from ..models.ids import FileId, TenantId
from ..services import Services
from .auth import Asker
from .context import ServicesOfRequest
from .file_schemas import FileLinkView, FileView, LinkInput
from .idempotency import REPLAYED, WantedOnce
from .links import write_link
from .problems import problem_responses
from .routing import ApiRoute, UploadRoute, read_upload
from .schemas import check_characters

router = APIRouter(route_class=ApiRoute, tags=["files"])
uploads = APIRouter(route_class=UploadRoute, tags=["files"])

FileInPath = Annotated[UUID, Path(alias="fileId")]
FileName = Annotated[str, Query(min_length=1, max_length=255), AfterValidator(check_characters)]

_BYTES: dict[str, Any] = {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}
_CONTENT: dict[int | str, dict[str, Any]] = {
    200: {"description": "The bytes of the file, with its media type.", "content": {"*/*": _BYTES}}
}
_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
"""Nothing of a file that a browser opens may run or load anything."""


@uploads.post(
    "/v1/files",
    operation_id="createFile",
    status_code=status.HTTP_201_CREATED,
    responses=problem_responses(400, 408, 409, 413, 415, 422, 503),
    openapi_extra={"requestBody": {"required": True, "content": {"*/*": _BYTES}}},
)
async def create_file(
    *,
    name: FileName,
    request: Request,
    response: Response,
    services: ServicesOfRequest,
    asker: Asker,
    request_key: WantedOnce,
) -> FileView:
    """Send a file, to be attached to a message then. The body is the file itself.

    Images (PNG, JPEG, WebP, GIF), PDFs, office documents and plain text are taken. What a file is is told by its bytes: the
    `Content-Type` that you send counts for nothing.
    """
    files = services.files
    try:
        repeated = request_key and await files.find_repeated(asker.tenant_id, request_key, name=name)
        if not repeated:
            content = read_upload(request, services.limits, most_bytes=files.most_bytes)
            return FileView.describe(await files.add(asker, content, name=name, request_key=request_key))
    except (RequestRepeated, FileOvertaken) as error:  # sent twice in this very moment
        repeated = request_key and await files.find_repeated(asker.tenant_id, request_key, name=name)
        if not repeated:
            raise FileOvertaken from error
    response.headers.update(REPLAYED)
    return FileView.describe(repeated)


@router.get("/v1/files/{fileId}", operation_id="getFile", responses=problem_responses(400, 404, 503))
async def get_file(file_id: FileInPath, services: ServicesOfRequest, asker: Asker) -> FileView:
    """What is known of a file."""
    return FileView.describe(await services.files.get(asker, FileId(file_id)))


@router.get(
    "/v1/files/{fileId}/content",
    operation_id="getFileContent",
    response_class=StreamingResponse,
    responses={**_CONTENT, **problem_responses(400, 404, 503)},
)
async def get_file_content(file_id: FileInPath, services: ServicesOfRequest, asker: Asker) -> Response:
    """The bytes of a file."""
    file = await services.files.get(asker, FileId(file_id))
    return await _hand_out(services, asker.tenant_id, file, Disposition.INLINE)


@router.post(
    "/v1/files/{fileId}/links",
    operation_id="createFileLink",
    status_code=status.HTTP_201_CREATED,
    responses=problem_responses(400, 404, 408, 413, 415, 503),
)
async def create_file_link(
    file_id: FileInPath,
    services: ServicesOfRequest,
    asker: Asker,
    wanted: Annotated[LinkInput | None, Body()] = None,
) -> FileLinkView:
    """A link that hands out the file without credentials, for 15 minutes."""
    file = await services.files.get(asker, FileId(file_id))
    link = services.file_links.make(file.id, (wanted or LinkInput()).disposition)
    return FileLinkView(url=write_link(link), expires_at=link.expires_at)


@router.get(
    "/v1/files/{fileId}/linked-content",
    operation_id="followFileLink",
    response_class=StreamingResponse,
    responses={**_CONTENT, **problem_responses(400, 404, 503)},
)
async def follow_file_link(
    file_id: FileInPath,
    services: ServicesOfRequest,
    disposition: Disposition,
    expires: int,  # noqa: ARG001  # was checked before
    signature: str,  # noqa: ARG001
) -> Response:
    """The bytes of the file that a link leads to."""
    tenant_id = services.file_links.tenant_id
    file = await services.files.get_linked(tenant_id, FileId(file_id))
    answer = await _hand_out(services, tenant_id, file, disposition)
    answer.headers["Cross-Origin-Resource-Policy"] = "cross-origin"  # a page of any site may show it: it has the link
    return answer


@router.delete(
    "/v1/files/{fileId}",
    operation_id="deleteFile",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problem_responses(400, 404, 408, 409, 413, 415, 503),
)
async def delete_file(file_id: FileInPath, services: ServicesOfRequest, asker: Asker) -> None:
    """Delete a file that no message has. Those of messages go with their conversation."""
    await services.files.delete(asker, FileId(file_id))


class _Bytes(StreamingResponse):
    """A file on its way. However it ends, its reader is closed at once."""

    def __init__(self, content: AsyncGenerator[bytes, None], *, first: bytes, headers: dict[str, str]) -> None:
        async def whole() -> AsyncIterator[bytes]:
            yield first
            async for piece in content:
                yield piece

        super().__init__(whole(), headers=headers)
        self._source = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._source.aclose()


async def _hand_out(services: Services, tenant_id: TenantId, file: File, wanted: Disposition) -> Response:
    """The answer that carries a file. The first bytes are read before it begins, so that a store that is away gets its
    own status."""
    content = services.files.read(tenant_id, file)
    first = await anext(content, None)
    if first is None:
        raise FileNotFound
    disposition = wanted if file.attachment.is_image else Disposition.ATTACHMENT
    headers = {
        "Content-Type": _content_type(file.content.media_type),
        "Content-Length": str(file.content.size),
        "Content-Disposition": write_disposition(disposition, file.name),
        "Content-Security-Policy": _POLICY,
    }
    return _Bytes(content, first=first, headers=headers)


def _content_type(media_type: str) -> str:
    return f"{media_type}; charset=utf-8" if media_type.startswith("text/") else media_type


def write_disposition(disposition: Disposition, name: str) -> str:
    """The header (RFC 6266): the name in a form that every client reads, and in full."""
    plain = "".join(
        character if character.isascii() and character.isprintable() and character not in '"\\%' else "_"
        for character in name
    )
    return f"{disposition.value}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
