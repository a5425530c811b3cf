"""`syntera knowledge`: a tenant's knowledge bases, their documents and syncs, and how they are searched."""

import os
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from pydantic import BaseModel

from syntera_crds.contract.knowledge_config import Audience, SearchMode
from syntera_runtime.client.knowledge_models import Chunk, Document, KnowledgeBase, Sync

from .client import TenantClient
from .errors import CliError, DocumentNotFound, SyncFailed
from .knowledge_tables import (
    render_chunks,
    render_documents,
    render_knowledge_base,
    render_knowledge_bases,
    render_result,
    render_syncs,
    say_sync,
)
from .tenants import Context, KeyFile, Namespace, Tenant, Url, open_tenant
from .terminal import Output, complain, show, told_failures

app = typer.Typer(
    name="knowledge", help="Look into a tenant's knowledge bases, fill them, and search them.", no_args_is_help=True
)

PAGE = 200
"""As many as the server gives at once."""
POLL_SECONDS = 1.0
SYNC_SECONDS = 3600.0
"""How long `--wait` waits for the end of a sync."""


class State(StrEnum):
    """What became of a document."""

    PENDING = "pending"
    INDEXED = "indexed"
    FAILED = "failed"
    EXCLUDED = "excluded"


class _KnowledgeBases(BaseModel):
    items: list[KnowledgeBase]


class _Documents(BaseModel):
    items: list[Document]


class _Chunks(BaseModel):
    items: list[Chunk]


class _Syncs(BaseModel):
    items: list[Sync]


def _check_texts(*texts: str | None) -> None:
    """Of arguments, Python takes bytes that are no text as halves of surrogate pairs, which cannot be sent."""
    try:
        for text in texts:
            (text or "").encode()
    except UnicodeError:
        raise typer.BadParameter("it is not UTF-8; convert it first") from None


def _checked(text: str) -> str:
    _check_texts(text)
    return text


Name = Annotated[str, typer.Argument(metavar="KNOWLEDGE-BASE", help="Its name.", callback=_checked, show_default=False)]
DocumentName = Annotated[
    str,
    typer.Argument(metavar="DOCUMENT", help="Its id, or its path as listed.", callback=_checked, show_default=False),
]
Wanted = Annotated[Output, typer.Option("--output", "-o", help="For people or for scripts.")]


@app.command("list")
def list_knowledge_bases(
    *,
    output: Wanted = Output.TEXT,
    namespace: Namespace = None,
    tenant: Tenant = None,
    context: Context = None,
    url: Url = None,
    api_key_file: KeyFile = None,
) -> None:
    """List the knowledge bases."""
    with told_failures(), open_tenant(namespace, tenant, context, url, api_key_file) as client:
        found = [*client.do(client.knowledge_bases.list())]
        show(_KnowledgeBases(items=found), render_knowledge_bases(found), output)


@app.command("show")
def show_knowledge_base(
    name: Name,
    *,
    output: Wanted = Output.TEXT,
    namespace: Namespace = None,
    tenant: Tenant = None,
    context: Context = None,
    url: Url = None,
    api_key_file: KeyFile = None,
) -> None:
    """Tell how a knowledge base is configured, what is in it, and how its last sync went."""
    with told_failures(), open_tenant(namespace, tenant, context, url, api_key_file) as client:
        found = client.do(client.knowledge_bases.get(name))
        show(found, render_knowledge_base(found), output)


@app.command()
def documents(
    name: Name,
    *,
    find: Annotated[
        str | None, typer.Option(help="Only those with this in their title or path.", show_default=False)
    ] = None,
    source: Annotated[str | None, typer.Option(help="Only those of this source.", show_default=False)] = None,
    state: Annotated[State | None, typer.Option(help="Only those in this state.", show_default=False)] = None,
    output: Wanted = Output.TEXT,
    namespace: Namespace = None,
    tenant: Tenant = None,
    context: Context = None,
    url: Url = None,
    api_key_file: KeyFile = None,
) -> None:
    """List the documents, oldest first, and why some could not be taken in."""
    _check_texts(find, source)
    with told_failures(), open_tenant(namespace, tenant, context, url, api_key_file) as client:
        listing = client.knowledge_bases.documents(
            name, source=source, state=None if state is None else state.value, words=find, page_size=PAGE
        )
        found = client.all(listing)
        show(_Documents(items=found), render_documents(found), output)


@app.command()
def chunks(
    name: Name,
    document: DocumentName,
    *,
    output: Wanted = Output.TEXT,
    namespace: Namespace = None,
    tenant: Tenant = None,
    context: Context = None,
    url: Url = None,
    api_key_file: KeyFile = None,
) -> None:
    """Show the pieces that a document was cut into."""
    with told_failures(), open_tenant(namespace, tenant, context, url, api_key_file) as client:
        document_id = _find_document(client, name, document)
        found = client.all(client.knowledge_bases.chunks(name, document_id, page_size=PAGE))
        show(_Chunks(items=found), render_chunks(found), output)


@app.command()
def upload(
    name: Name,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="What to upload.", show_default=False)],
    *,
    source: Annotated[
        str | None,
        typer.Option(help="Source that it is for. Default: the first that takes uploads.", show_default=False),
    ] = None,
    title: Annotated[
        str | None, typer.Option(help="What citations call it. Default: its own title.", show_default=False)
    ] = None,
    link: Annotated[
        str | None, typer.Option(help="URL where people can read it; citations link there.", show_default=False)
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="ISO 639-1. Default: found out from its text.", show_default=False)
    ] = None,
    audience: Annotated[
        list[Audience] | None,
        typer.Option(help="Whom it is for. May be repeated. Default: as the source says.", show_default=False),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Tag, beside those of the source. May be repeated.", show_default=False)
    ] = None,
    namespace: Namespace = None,
    tenant: Tenant = None,
    context: Context = None,
    url: Url = None,
    api_key_file: KeyFile = None,
) -> None:
    """Upload files as documents, each in place of one of the same name. A sync takes them in soon."""
    if len(files) > 1 and (title is not None or link is not None):
        raise typer.BadParameter("belongs to one file", param_hint="--title" if title is not None else "--link")
    _check_texts(source, title, link, language, *(tag or ()))
    with told_failures(), open_tenant(namespace, tenant, context, url, api_key_file) as client:
        for file in files:
            made = client.do(
                client.knowledge_bases.upload(
                    name,
                    os.fsencode(file.name).decode(errors="replace"),
                    _read_file(file),
                    source=source,
                    title=title,
                    url=link,
                    language=language,
                    audience=[one.value for one in audience or ()],
                    tags=tag or (),
                )
            )
            print(made.id)
            complain(f"{made.path}: {made.title} ({made.state})", style="dim")


@app.command()
def delete(
    name: Name,
    document: DocumentName,
    *,
    namespace: Namespace = None,
    tenant: Tenant = None,
    context: Context = None,
    url: Url = None,
    api_key_file: KeyFile = None,
) -> None:
    """Take a document out. An uploaded one is gone; any other is left out by syncs until it is re-ingested."""
    with told_failures(), open_tenant(namespace, tenant, context, url, api_key_file) as client:
        document_id = _find_document(client, name, document)
        client.do(client.knowledge_bases.delete_document(name, document_id))
        complain(f"The document {document} is taken out.", style="dim")


@app.command()
def reingest(
    name: Name,
    document: DocumentName,
    *,
    namespace: Namespace = None,
    tenant: Tenant = None,
    context: Context = None,
    url: Url = None,
    api_key_file: KeyFile = None,
) -> None:
    """Have a document fetched, read and embedded anew by a sync soon, also one that was taken out."""
    with told_failures(), open_tenant(namespace, tenant, context, url, api_key_file) as client:
        document_id = _find_document(client, name, document)
        client.do(client.knowledge_bases.reingest_document(name, document_id))
        complain(f"The document {document} is taken in anew by the next sync, which is asked for.", style="dim")


@app.command()
def sync(
    name: Name,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for its end, and tell how it went.")] = False,
    namespace: Namespace = None,
    tenant: Tenant = None,
    context: Context = None,
    url: Url = None,
    api_key_file: KeyFile = None,
) -> None:
    """Have a knowledge base synced soon."""
    with told_failures(), open_tenant(namespace, tenant, context, url, api_key_file) as client:
        before = _last_sync(client, name)
        client.do(client.knowledge_bases.request_sync(name))
        if not wait:
            complain(f"A sync of {name} is asked for; `syntera knowledge syncs {name}` tells how it goes.", style="dim")
            return
        made = _await_sync(client, name, before=before)
        print(say_sync(made))
        if made.state != "complete":
            raise SyncFailed(made.message or f"The sync has failed: {made.failure}.")


@app.command()
def syncs(
    name: Name,
    *,
    output: Wanted = Output.TEXT,
    namespace: Namespace = None,
    tenant: Tenant = None,
    context: Context = None,
    url: Url = None,
    api_key_file: KeyFile = None,
) -> None:
    """List the syncs, newest first, and what could not be taken in."""
    with told_failures(), open_tenant(namespace, tenant, context, url, api_key_file) as client:
        found = client.all(client.knowledge_bases.syncs(name, page_size=PAGE))
        show(_Syncs(items=found), render_syncs(found), output)


@app.command()
def search(
    name: Name,
    question: Annotated[
        str, typer.Argument(metavar="QUESTION", help="What to find.", callback=_checked, show_default=False)
    ],
    *,
    mode: Annotated[
        SearchMode | None, typer.Option(help="By what. Default: as the knowledge base says.", show_default=False)
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, max=50, help="Passages at most.", show_default=False)] = None,
    min_score: Annotated[
        float | None, typer.Option(min=0, max=1, help="Leave out what has a lower score.", show_default=False)
    ] = None,
    rerank: Annotated[bool, typer.Option(help="Use the reranker that the knowledge base names.")] = True,
    audience: Annotated[
        list[Audience] | None,
        typer.Option(help="Find what is for these. May be repeated. Default: public.", show_default=False),
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option(help="Only documents of this source. May be repeated.", show_default=False)
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Only documents with all these tags. May be repeated.", show_default=False)
    ] = None,
    path: Annotated[str | None, typer.Option(help="Only documents whose path begins so.", show_default=False)] = None,
    output: Wanted = Output.TEXT,
    namespace: Namespace = None,
    tenant: Tenant = None,
    context: Context = None,
    url: Url = None,
    api_key_file: KeyFile = None,
) -> None:
    """Search as an agent would: passages with their scores, and how long each stage took."""
    _check_texts(path, *(source or ()), *(tag or ()))
    with told_failures(), open_tenant(namespace, tenant, context, url, api_key_file) as client:
        searching = client.knowledge_bases.search(
            name,
            question,
            mode=mode,
            top_k=top,
            min_score=min_score,
            rerank=None if rerank else False,
            audience=[one.value for one in audience or (Audience.PUBLIC,)],
            sources=source,
            tags=tag or (),
            path_prefix=path,
        )
        found = client.do(searching)
        show(found, render_result(found), output)


def _find_document(client: TenantClient, name: str, document: str) -> UUID:
    """The id of the document that is called so.

    Raises:
        DocumentNotFound: None is, or several are.
    """
    try:
        return UUID(document)
    except ValueError:
        listing = client.knowledge_bases.documents(name, words=document[:200], page_size=PAGE)
    found = [one.id for one in client.all(listing) if one.path == document]
    if not found:
        raise DocumentNotFound(f"There is no document {document!r}; `syntera knowledge documents {name}` lists them.")
    if len(found) > 1:
        raise DocumentNotFound(f"Several sources have a document {document!r}; name it by its id.")
    return found[0]


def _read_file(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as exc:
        raise CliError(f"The file {str(file)!r} cannot be read: {exc.strerror}.") from None


def _last_sync(client: TenantClient, name: str) -> UUID | None:
    last = client.do(client.knowledge_bases.get(name)).last_sync
    return None if last is None else last.id


def _await_sync(client: TenantClient, name: str, *, before: UUID | None) -> Sync:
    """The sync that began after `before`, once it has ended.

    Raises:
        SyncFailed: It did not end in time.
    """
    ends_at = time.monotonic() + SYNC_SECONDS
    while time.monotonic() < ends_at:
        last = client.do(client.knowledge_bases.get(name)).last_sync
        if last is not None and last.id != before and last.state != "running":
            return last
        time.sleep(POLL_SECONDS)
    raise SyncFailed(f"No sync has ended within {SYNC_SECONDS:.0f} seconds; look at the KnowledgeBase's status.")
