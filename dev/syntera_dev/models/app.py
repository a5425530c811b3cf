"""The stand-in's HTTP side: `/v1` for clients, `/control` for tests, `/healthz` for probes."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterator

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from syntera_dev.models.answers import count_tokens, make_answer, make_text_answer
from syntera_dev.models.control import Control, ControlState, Fault, Received, ScriptedAnswer
from syntera_dev.models.e5 import DIMENSIONS, E5Embedder
from syntera_dev.models.embeddings import embed, to_base64
from syntera_dev.models.protocol import (
    CHAT_MODEL,
    EMBEDDING_MODEL,
    NAME_PREFIX,
    REAL_EMBEDDING_MODEL,
    RERANK_MODEL,
    Answer,
    ChatRequest,
    EmbeddingRequest,
    Json,
    RerankRequest,
    build_chunk,
    build_completion,
    build_deltas,
    build_error,
    build_usage,
)
from syntera_dev.models.rerank import judge
from syntera_dev.models.settings import Behaviour


class ProtocolError(Exception):
    """A request that is answered with an error of the protocol."""

    def __init__(self, status: int, message: str, *, code: str | None = None, headers: dict[str, str] | None = None):
        """`headers` are added to the answer."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers


class CutResponse(StreamingResponse):
    """A stream whose connection ends in the middle, as if the server had died: it never sends the closing chunk."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Send head and body, then return without the end of the body, upon which the server closes the connection."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for piece in self.body_iterator:
            body = piece if isinstance(piece, bytes) else str(piece).encode()
            await send({"type": "http.response.body", "body": body, "more_body": True})


def create_app(behaviour: Behaviour | None = None) -> FastAPI:
    """Build the server with a state of its own."""
    app = FastAPI(title="Syntera stand-in models", docs_url=None, redoc_url=None)
    control = Control(behaviour or Behaviour())
    _add_protocol(app, control)
    _add_control(app, control)

    @app.exception_handler(ProtocolError)
    async def protocol_error(_request: Request, exc: ProtocolError) -> Response:
        kind = "server_error" if exc.status >= 500 else "invalid_request_error"
        return JSONResponse(
            build_error(str(exc), kind=kind, code=exc.code), status_code=exc.status, headers=exc.headers
        )

    @app.exception_handler(RequestValidationError)
    async def invalid_request(_request: Request, exc: RequestValidationError) -> Response:
        first = exc.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        error = build_error(f"{place}: {first['msg']}", kind="invalid_request_error", code=None)
        return JSONResponse(error, status_code=400)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    return app


def _add_protocol(app: FastAPI, control: Control) -> None:
    numbers = itertools.count(1)
    e5 = E5Embedder()

    async def admit(request: Request) -> None:
        control.journal.append(await _received(request))
        keys = control.behaviour.api_keys
        if keys is not None and request.headers.get("authorization", "").removeprefix("Bearer ") not in keys:
            raise ProtocolError(401, "The API key is not accepted.", code="invalid_api_key")

    router = APIRouter(prefix="/v1", dependencies=[Depends(admit)])

    @router.get("/models")
    async def models() -> Json:
        entries = [
            {"id": name, "object": "model", "created": 0, "owned_by": "syntera-stand-in"}
            for name in (CHAT_MODEL, EMBEDDING_MODEL, RERANK_MODEL, REAL_EMBEDDING_MODEL)
        ]
        return {"object": "list", "data": entries}

    @router.post("/chat/completions")
    async def chat(request: ChatRequest) -> Response:
        _require_stand_in(request.model)
        fault = control.take_fault(request.model)
        await asyncio.sleep(control.behaviour.delay_seconds)
        if fault is not None and fault.kind == "status":
            raise _status_error(fault)
        scripted = control.take_answer(request.model)
        answer = make_text_answer(scripted.text, request) if scripted else make_answer(request)
        answer = _spoilt(answer, fault)
        identity: Json = {
            "completion_id": f"chatcmpl-stand-in-{next(numbers)}",
            "created": int(time.time()),
            "model": request.model,
        }
        if request.stream:
            frames = _frames(answer, request, control.behaviour, fault, identity)
            cut = fault is not None and fault.kind == "drop"
            return (CutResponse if cut else StreamingResponse)(frames, media_type="text/event-stream")
        return await _whole(answer, fault, identity)

    @router.post("/embeddings")
    async def embeddings(request: EmbeddingRequest) -> Json:
        if request.model != REAL_EMBEDDING_MODEL:
            _require_stand_in(request.model)
        fault = control.take_fault(request.model)
        await asyncio.sleep(control.behaviour.delay_seconds)
        if fault is not None:
            raise _status_error(fault)
        vectors, tokens = await _embed(request, e5)
        data = [
            {
                "object": "embedding",
                "index": index,
                "embedding": to_base64(vector) if request.encoding_format == "base64" else vector,
            }
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "data": data, "model": request.model, "usage": usage}

    @router.post("/rerank")
    async def rerank(request: RerankRequest) -> Json:
        _require_stand_in(request.model)
        fault = control.take_fault(request.model)
        await asyncio.sleep(control.behaviour.delay_seconds)
        if fault is not None:
            raise _status_error(fault)
        scores = judge(request.query, request.documents)
        results = [{"index": index, "relevance_score": score} for index, score in enumerate(scores)]
        results.sort(key=lambda result: result["relevance_score"], reverse=True)
        return {"model": request.model, "results": results[: request.top_n]}

    app.include_router(router)


def _add_control(app: FastAPI, control: Control) -> None:
    @app.get("/control")
    async def state() -> ControlState:
        return control.state()

    @app.patch("/control")
    async def change(changes: Behaviour) -> ControlState:
        set_by_client = {name: getattr(changes, name) for name in changes.model_fields_set}
        control.behaviour = control.behaviour.model_copy(update=set_by_client)
        return control.state()

    @app.delete("/control", status_code=204)
    async def reset() -> None:
        control.reset()

    @app.post("/control/faults")
    async def add_faults(faults: list[Fault]) -> ControlState:
        control.add_faults(faults)
        return control.state()

    @app.post("/control/answers")
    async def add_answers(answers: list[ScriptedAnswer]) -> ControlState:
        control.add_answers(answers)
        return control.state()

    @app.get("/control/journal")
    async def journal() -> list[Received]:
        return list(control.journal)


async def _received(request: Request) -> Received:
    try:
        body = json.loads(await request.body() or b"null")
    except ValueError:
        body = None
    model = body.get("model") if isinstance(body, dict) else None
    return Received(path=request.url.path, model=model, headers=dict(request.headers), body=body)


async def _embed(request: EmbeddingRequest, e5: E5Embedder) -> tuple[list[list[float]], int]:
    """The vectors of a request's texts, and how many tokens these have."""
    if request.model != REAL_EMBEDDING_MODEL:
        vectors = [embed(text, dimensions=request.dimensions) for text in request.texts]
        return vectors, sum(count_tokens(text) for text in request.texts)
    if request.dimensions != DIMENSIONS:
        raise ProtocolError(400, f"The model {request.model!r} has {DIMENSIONS} dimensions and no others.")
    embeddings = await e5.embed(request.texts)
    return [each.vector for each in embeddings], sum(each.tokens for each in embeddings)


def _require_stand_in(model: str) -> None:
    if not model.startswith(NAME_PREFIX):
        raise ProtocolError(
            404,
            f"The model {model!r} does not exist: this is a stand-in, its models' names begin with {NAME_PREFIX!r}.",
            code="model_not_found",
        )


def _status_error(fault: Fault) -> ProtocolError:
    headers = None if fault.retry_after_seconds is None else {"Retry-After": str(fault.retry_after_seconds)}
    status = fault.status if fault.kind == "status" else 500
    return ProtocolError(status, fault.message, code="stand_in_fault", headers=headers)


def _spoilt(answer: Answer, fault: Fault | None) -> Answer:
    """The answer as a fault leaves it that shows in the content and not in the transport."""
    match fault:
        case Fault(kind="empty"):
            return Answer("", answer.prompt_tokens, 0)
        case Fault(kind="content-filter", after_words=words):
            text = "".join(answer.pieces[:words])
            return Answer(text, answer.prompt_tokens, count_tokens(text), finish_reason="content_filter")
        case _:
            return answer


async def _whole(answer: Answer, fault: Fault | None, identity: Json) -> Response:
    body = json.dumps(build_completion(answer, **identity))
    match fault:
        case Fault(kind="drop"):
            return CutResponse(iter([body[: len(body) // 2]]), media_type="application/json")
        case Fault(kind="malformed"):
            return Response(body[: len(body) // 2], media_type="application/json")
        case Fault(kind="error-event"):
            raise _status_error(fault)
        case Fault(kind="hang", seconds=seconds):
            await asyncio.sleep(seconds)
    return Response(body, media_type="application/json")


async def _frames(
    answer: Answer, request: ChatRequest, behaviour: Behaviour, fault: Fault | None, identity: Json
) -> AsyncIterator[str]:
    """The stream, event by event; a fault strikes after its number of words."""
    striking = fault if fault is not None and fault.kind in {"drop", "malformed", "error-event", "hang"} else None
    for words, delta in enumerate(build_deltas(answer)):
        if striking is not None and words > striking.after_words:
            break
        yield _frame(build_chunk([_choice(delta)], **identity, usage=None))
        await asyncio.sleep(behaviour.word_delay_seconds)
    if striking is not None:
        for frame in _broken_frames(striking):
            yield frame
        if striking.kind != "hang":
            return
        await asyncio.sleep(striking.seconds)
    yield _frame(build_chunk([_choice({}, answer.finish_reason)], **identity, usage=None))
    if behaviour.stream_usage and request.stream_options and request.stream_options.include_usage:
        usage = build_usage(answer.prompt_tokens, answer.completion_tokens)
        yield _frame(build_chunk([], **identity, usage=usage))
    yield "data: [DONE]\n\n"


def _broken_frames(fault: Fault) -> Iterator[str]:
    if fault.kind == "malformed":
        yield 'data: {"choices": [{"delta": \n\n'
    if fault.kind == "error-event":
        yield _frame(build_error(fault.message, kind="server_error", code="stand_in_fault"))


def _choice(delta: Json, finish_reason: str | None = None) -> Json:
    return {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}


def _frame(data: Json) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"
