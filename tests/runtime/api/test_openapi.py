"""The description of the API, for generated clients."""

import json
import re
from typing import Any

import httpx
import pytest

from syntera_runtime.api.app import build_public_app
from tests.runtime.builders import make_services

DESCRIPTION: dict[str, Any] = build_public_app(make_services()).openapi()
OPERATIONS = [(path, operation) for path, methods in DESCRIPTION["paths"].items() for operation in methods.values()]
each_operation = pytest.mark.parametrize(
    ("path", "operation"), OPERATIONS, ids=[operation["operationId"] for _, operation in OPERATIONS]
)


async def test_description_is_served_to_everybody(anonymous: httpx.AsyncClient) -> None:
    answer = await anonymous.get("/v1/openapi.json")
    assert answer.status_code == 200
    assert answer.json() == DESCRIPTION
    assert DESCRIPTION["openapi"].startswith("3.1.")


def test_operations_are_those_that_are_promised() -> None:
    assert {operation["operationId"] for _, operation in OPERATIONS} == {
        "listAgents",
        "getAgent",
        "startConversation",
        "getConversation",
        "sendMessage",
        "listMessages",
        "createChatCompletion",
        "listModels",
        "getModel",
    }


@each_operation
def test_every_operation_says_who_may_call_it_and_how_it_fails(path: str, operation: dict[str, Any]) -> None:
    assert operation["security"] == [{"apiKey": []}]
    assert operation["tags"]
    assert operation["description"]
    assert {"401", "403", "default"} <= operation["responses"].keys()
    assert "422" not in operation["responses"]
    is_openai = path in ("/v1/chat/completions", "/v1/models", "/v1/models/{model}")
    media_type, schema = (
        ("application/json", "OpenAIErrorAnswer") if is_openai else ("application/problem+json", "Problem")
    )
    for status, answer in operation["responses"].items():
        if status not in ("200", "201"):
            assert answer["content"] == {media_type: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


@each_operation
def test_every_parameter_of_a_path_is_described(path: str, operation: dict[str, Any]) -> None:
    described = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
    assert described == set(re.findall(r"{(\w+)}", path))


def test_streams_are_described() -> None:
    for path in ("/v1/conversations/{conversationId}/messages", "/v1/chat/completions"):
        assert DESCRIPTION["paths"][path]["post"]["responses"]["200"]["content"].keys() == {
            "application/json",
            "text/event-stream",
        }
    events = {"MessageStarted", "MessageDelta", "MessageCompleted", "MessageFailed", "Chunk", "ErrorChunk"}
    assert events <= DESCRIPTION["components"]["schemas"].keys()


def test_every_reference_leads_somewhere() -> None:
    schemas = DESCRIPTION["components"]["schemas"]
    assert set(re.findall(r"#/components/schemas/([^\"]+)\"", json.dumps(DESCRIPTION))) <= schemas.keys()


def test_fields_are_in_camel_case_except_where_openai_writes_otherwise() -> None:
    schemas = DESCRIPTION["components"]["schemas"]
    assert set(schemas["MessageView"]["properties"]) == {
        "id",
        "conversationId",
        "turnId",
        "role",
        "state",
        "content",
        "createdAt",
        "error",
    }
    assert "max_completion_tokens" in schemas["ChatCompletionRequest"]["properties"]


def test_unknown_fields_are_described_as_refused() -> None:
    assert DESCRIPTION["components"]["schemas"]["MessageInput"]["additionalProperties"] is False
