"""How an app of the runtime is put together, and the public one."""

from collections.abc import Sequence
from typing import Any

import structlog
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from syntera_crds import __version__

from ..errors import InvalidRequest, MethodNotAllowed, RouteNotFound, StoreUnavailable, SynteraError
from ..services import Services
from . import (
    agents,
    api_keys,
    audit_log,
    conversations,
    feedback,
    files,
    knowledge,
    knowledge_documents,
    live,
    messages,
    usage,
    visitors,
    webhooks,
)
from .context import services_of
from .cors import Cors
from .description import DescribedApp
from .middleware import RequestScope
from .openai import completions, models
from .problems import build_faults, error_response
from .routing import check_guarded
from .sockets.server import PATH, SocketServer

log = structlog.get_logger(__name__)

NO_TELEMETRY: Any = {"tracing": False, "metrics": False, "logs": False, "operation_spans": False}
"""FastAPI's own instruments would put request bodies and the messages of exceptions, so users' text, into traces."""

_DESCRIPTION = "Talk to the agents of a tenant. Errors are problem details (RFC 9457); decide by their `code`."


def build_public_app(services: Services, sockets: SocketServer | None = None) -> FastAPI:
    """The API for people and programs. `sockets`, which must run meanwhile, serves Socket.IO; None: that is not served."""
    app = DescribedApp(
        title="Syntera",
        description=_DESCRIPTION,
        version=__version__,
        openapi_url="/v1/openapi.json",
        openapi_tags=[
            {"name": "agents", "description": "Who there is to talk to."},
            {"name": "conversations", "description": "Threads that are kept."},
            {"name": "messages", "description": "What is said in them."},
            {"name": "files", "description": "What is attached to them."},
            {"name": "openai", "description": "The same agents for clients of OpenAI's protocol."},
            {"name": "visitors", "description": "Tokens for the visitors of websites."},
            {"name": "knowledge-bases", "description": "What agents look their answers up in."},
            {"name": "usage", "description": "What was used, and of which budgets."},
            {"name": "api-keys", "description": "Keys of this API, for administrators."},
            {"name": "audit-log", "description": "Who has done what."},
            {"name": "webhooks", "description": "Endpoints of yours that are told what happens, for administrators."},
        ],
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=NO_TELEMETRY,
    )
    routers = (
        agents.router,
        conversations.router,
        messages.router,
        live.router,
        feedback.router,
        files.uploads,
        files.router,
        completions.router,
        models.router,
        visitors.router,
        knowledge.router,
        knowledge_documents.uploads,
        knowledge_documents.router,
        usage.router,
        api_keys.router,
        audit_log.router,
        webhooks.router,
    )
    check_guarded(routers)
    if sockets is not None:
        app.mount(PATH, sockets)
    app.add_middleware(Cors, origins=services.origins)  # inside of what `assemble` puts around everything
    return assemble(app, services, routers, port="public")


def assemble(app: FastAPI, services: Services, routers: Sequence[APIRouter], *, port: str) -> FastAPI:
    """Give an app its routes, its services, and errors and headers as all our answers have them."""
    app.state.services = services
    for router in routers:
        # As they are: including a router makes routes anew for every app, when the first request comes.
        app.router.routes.extend(router.routes)
    app.add_exception_handler(SynteraError, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_middleware(RequestScope, metrics=services.metrics, tracer=services.tracer, port=port)
    return app


async def _answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, SynteraError)
    if isinstance(error, StoreUnavailable):
        services_of(request).metrics.store_unavailable.labels(error.store).inc()
    if error.status >= 500:
        log.warning("request not served", code=error.code, cause=type(error.__cause__ or error).__name__)
    return error_response(request, error)


async def _answer_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = build_faults(error.errors())
    message = "; ".join(f"{fault.path}: {fault.message}" for fault in faults)
    return error_response(request, InvalidRequest(f"The request is not valid: {message}", faults=faults))


async def _answer_http(request: Request, error: Exception) -> Response:
    """What the framework refuses by itself: an unknown path, a method that a path does not take."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return error_response(request, RouteNotFound())
    if error.status_code != 405:
        raise error
    answer = error_response(request, MethodNotAllowed())
    answer.headers.update(error.headers or {})
    return answer
