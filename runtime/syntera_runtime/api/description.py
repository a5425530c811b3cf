"""The OpenAPI description, where FastAPI's own falls short: credentials, the media type of problems, events of streams, examples,
headers."""

from collections.abc import Iterable, Iterator
from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from ..errors import SynteraError
from .events import (
    MessageCitation,
    MessageCompleted,
    MessageDelta,
    MessageFailed,
    MessageRetrieval,
    MessageSnapshot,
    MessageStarted,
    MessageStopped,
    StreamEnded,
    TurnUsage,
)
from .examples import PARAMETERS, PARAMETERS_OF, REQUESTS, build_answers
from .openai.answers import Chunk, ChunkWithUsage, ErrorChunk
from .permissions import Credential, requirement_of
from .problem_examples import Body, problems_of
from .problems import PROBLEM_MEDIA_TYPE, build_problem, openai_error

_STREAMED = (
    MessageStarted,
    MessageRetrieval,
    MessageDelta,
    MessageCitation,
    MessageSnapshot,
    TurnUsage,
    MessageCompleted,
    MessageStopped,
    MessageFailed,
    StreamEnded,
    Chunk,
    ChunkWithUsage,
    ErrorChunk,
)
_REFERENCE = "#/components/schemas/{model}"
_CREDENTIALS = {
    Credential.SECRET_KEY: ("syn_sk_...", "A secret key of the tenant, for servers."),
    Credential.USER_TOKEN: ("JWT", "A token of an issuer that the Tenant trusts, for people who signed in."),
    Credential.VISITOR_TOKEN: ("syn_vt_...", "A token that a publishable key bought for a visitor."),
    Credential.PUBLISHABLE_KEY: ("syn_pk_...", "A publishable key of the tenant, for pages of websites."),
}
_DESCRIBED = {
    "agent": "The agent's name. In lists: only conversations with it.",
    "model": "The agent's name.",
    "conversationId": "The conversation.",
    "messageId": "The reply that is meant.",
    "apiKeyId": "The key's id; not the key itself.",
    "fileId": "The file.",
    "name": "What the file is called. Folders and characters that no name should have are taken out of it.",
    "disposition": "Of the link: whether the file is shown or saved.",
    "expires": "Of the link: when it ends, in seconds since 1970.",
    "signature": "Of the link: what proves that it was made here.",
    "knowledgeBase": "The knowledge base's name.",
    "documentId": "The document.",
    "webhookId": "The endpoint.",
    "deliveryId": "The delivery.",
    "turn": "The turn that is to be stopped; any that runs, where it is left out.",
    "after": "Number of the last event that you have. `Last-Event-ID` goes before it.",
    "Last-Event-ID": "Number of the last event that you have; browsers send it by themselves.",
    "Idempotency-Key": "Your own word for this request, the same whenever you send it again.",
    "If-Match": "The `ETag` that you read: change it only if nobody else has since.",
    "channel": "Only conversations of this channel.",
    "format": "`json`, or `markdown` for people.",
    "order": "What the list is ordered by.",
}
"""What parameters mean that do not say so where they are defined."""
_HEADERS = {
    "X-Request-Id": ("string", "Name it when you ask for help."),
    "RateLimit-Limit": ("integer", "Size of the limit of which least is left. Without limits the three are not there."),
    "RateLimit-Remaining": ("integer", "What is left of it."),
    "RateLimit-Reset": ("integer", "In how many seconds all of it is there again."),
    "Retry-After": ("integer", "In how many seconds trying again makes sense, where that is known."),
    "ETag": ("string", "The conversation's revision, for `If-Match`."),
    "Idempotency-Replayed": ("string", "`true`: an earlier request with the same key made what is told."),
    "Syntera-Events-Version": ("string", "Version of the catalogue of events, in streams."),
}
_EVERYWHERE = ("X-Request-Id", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
_OF_ANSWERS = {
    "getConversation": ("ETag",),
    "changeConversation": ("ETag",),
    "createFile": ("Idempotency-Replayed",),
    "createDocument": ("Idempotency-Replayed",),
    "sendMessage": ("Idempotency-Replayed", "Syntera-Events-Version"),
    "followConversation": ("Syntera-Events-Version",),
}
"""Headers of good answers, by operation."""
_REQUEST_ID = "019a3f4e-6c00-7000-8000-00000000000a"
_PROBLEM = {"schema": {"$ref": _REFERENCE.format(model="Problem")}}


class DescribedApp(FastAPI):
    """A FastAPI app whose description generated clients can rely on."""

    def openapi(self) -> dict[str, Any]:
        """The description; made once."""
        if self.openapi_schema is None:
            description = super().openapi()
            _say_who_may_call(description)
            _say_how_problems_come(description)
            _add_schemas_of_streams(description)
            for operation in _operations(description):
                _summarise(operation)
                _describe_parameters(operation)
                _describe_headers(operation)
                _add_examples_of_problems(operation)
            _add_examples(description)
            description["components"]["headers"] = {
                name: {"description": text, "schema": {"type": kind}} for name, (kind, text) in _HEADERS.items()
            }
            self.openapi_schema = description
        return self.openapi_schema


def _say_who_may_call(description: dict[str, Any]) -> None:
    """From the table that decides it."""
    description["components"]["securitySchemes"] = {
        credential.value: {"type": "http", "scheme": "bearer", "bearerFormat": form, "description": text}
        for credential, (form, text) in _CREDENTIALS.items()
    }
    for operation in _operations(description):
        taken = requirement_of(operation["operationId"]).credentials
        operation["security"] = [{credential.value: []} for credential in taken]
        if not taken:
            del operation["responses"]["401"]


def _say_how_problems_come(description: dict[str, Any]) -> None:
    """FastAPI gives every answer of an operation the media type of the good one."""
    for operation in _operations(description):
        for answer in operation["responses"].values():
            if answer.get("content", {}).get("application/json") == _PROBLEM:
                answer["content"] = {PROBLEM_MEDIA_TYPE: dict(_PROBLEM)}


def _add_schemas_of_streams(description: dict[str, Any]) -> None:
    _, made = models_json_schema([(model, "serialization") for model in _STREAMED], ref_template=_REFERENCE)
    schemas = description["components"]["schemas"]
    for name, schema in made["$defs"].items():
        schemas.setdefault(name, schema)


def _operations(description: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (operation for methods in description["paths"].values() for operation in methods.values())


def _summarise(operation: dict[str, Any]) -> None:
    """The first sentence, in place of the function's name."""
    operation["summary"] = (
        operation["description"].partition("\n\n")[0].partition(". ")[0].replace("\n", " ").rstrip(".")
    )


def _describe_parameters(operation: dict[str, Any]) -> None:
    examples = {**PARAMETERS, **PARAMETERS_OF.get(operation["operationId"], {})}
    for parameter in operation.get("parameters", []):
        name = parameter["name"]
        if name in _DESCRIBED:
            parameter.setdefault("description", _DESCRIBED[name])
        if name in examples:
            parameter["example"] = examples[name]


def _describe_headers(operation: dict[str, Any]) -> None:
    for status, answer in operation["responses"].items():
        names = [*_EVERYWHERE]
        if status in ("429", "503"):
            names.append("Retry-After")
        if status.startswith("2"):
            names += _OF_ANSWERS.get(operation["operationId"], ())
        answer["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _add_examples_of_problems(operation: dict[str, Any]) -> None:
    operation_id = operation["operationId"]
    requirement, body = requirement_of(operation_id), _body_of(operation)
    has_cursor = any(parameter["name"] == "cursor" for parameter in operation.get("parameters", []))
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            continue
        problems = problems_of(
            operation_id,
            500 if status == "default" else int(status),
            requirement,
            body=body,
            has_cursor=has_cursor,
        )
        for kind, content in answer["content"].items():
            content["examples"] = _say_problems(problems, is_openai=kind != PROBLEM_MEDIA_TYPE)


def _body_of(operation: dict[str, Any]) -> Body:
    if "requestBody" not in operation:
        return Body.NONE
    return Body.JSON if "application/json" in operation["requestBody"]["content"] else Body.FILE


def _say_problems(problems: Iterable[SynteraError], *, is_openai: bool) -> dict[str, Any]:
    if is_openai:
        said = [openai_error(problem) for problem in problems]
        return {str(error["code"]): {"value": {"error": error}} for error in said}
    return {
        problem.code: {
            "value": build_problem(problem, request_id=_REQUEST_ID).model_dump(
                mode="json", by_alias=True, exclude_none=True
            )
        }
        for problem in problems
    }


def _add_examples(description: dict[str, Any]) -> None:
    answers = build_answers()
    for operation in _operations(description):
        operation_id = operation["operationId"]
        if "requestBody" in operation and operation_id in REQUESTS:
            named = {name: {"value": value} for name, value in REQUESTS[operation_id].items()}
            for content in operation["requestBody"]["content"].values():
                content["examples"] = named
        for status, answer in operation["responses"].items():
            for kind, content in answer.get("content", {}).items() if status.startswith("2") else ():
                if kind in answers.get(operation_id, {}):
                    content["example"] = answers[operation_id][kind]
