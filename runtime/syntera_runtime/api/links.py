"""Links to files as addresses: what is written into one, and read again from the request that follows it."""

from urllib.parse import urlencode
from uuid import UUID

from fastapi import Request

from ..errors import LinkRefused
from ..files.links import Disposition, Link
from ..models.ids import FileId

_PATH = "/v1/files/{file_id}/linked-content"


def write_link(link: Link) -> str:
    """The path and query of a link, from the API's base URL on."""
    query = {"disposition": link.disposition.value, "expires": link.expires, "signature": link.signature}
    return f"{_PATH.format(file_id=link.file_id)}?{urlencode(query)}"


def read_link(request: Request) -> Link:
    """What the address of a request says. Nothing of it is to be believed before it was checked.

    Raises:
        LinkRefused: It is none that `write_link` wrote.
    """
    query = request.query_params
    try:
        link = Link(
            FileId(UUID(request.path_params["fileId"])),
            Disposition(query["disposition"]),
            int(query["expires"]),
            query["signature"],
        )
    except (KeyError, ValueError):
        raise LinkRefused from None
    if write_link(link) != f"{request.url.path}?{request.url.query}":
        raise LinkRefused
    return link
