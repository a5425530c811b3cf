"""The description of the API, for generated clients."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from syntera_runtime.api.app import build_public_app
from syntera_runtime.errors import ConfigurationError, SynteraError
from tests.runtime.builders import make_services

DESCRIPTION: dict[str, Any] = build_public_app(make_services()).openapi()
OPERATIONS = [(path, operation) for path, methods in DESCRIPTION["paths"].items() for operation in methods.values()]
REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "http-api.md"
DOCUMENTED_CODES = {
    code: int(status)
    for code, status in re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \|", REFERENCE.read_text(), re.MULTILINE)
}


def all_kinds(kind: type[SynteraError]) -> list[type[SynteraError]]:
    return [kind, *(inner for child in kind.__subclasses__() for inner in all_kinds(child))]


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
        "listConversations",
        "changeConversation",
        "deleteConversation",
        "exportConversation",
        "putMarks",
        "putFeedback",
        "deleteFeedback",
        "sendMessage",
        "listMessages",
        "followConversation",
        "stopTurn",
        "createFile",
        "getFile",
        "getFileContent",
        "createFileLink",
        "followFileLink",
        "deleteFile",
        "createChatCompletion",
        "listModels",
        "getModel",
        "createVisitorToken",
        "getUsage",
        "getConversationUsage",
        "createApiKey",
        "listApiKeys",
        "revokeApiKey",
        "getIdentitySecret",
        "listActs",
        "listKnowledgeBases",
        "getKnowledgeBase",
        "listSyncs",
        "requestSync",
        "searchKnowledgeBase",
        "listDocuments",
        "createDocument",
        "getDocument",
        "deleteDocument",
        "reingestDocument",
        "listChunks",
        "createWebhook",
        "listWebhooks",
        "getWebhook",
        "changeWebhook",
        "deleteWebhook",
        "getWebhookSecret",
        "rotateWebhookSecret",
        "testWebhook",
        "listDeliveries",
        "redeliver",
    }


@each_operation
def test_every_operation_says_who_may_call_it_and_how_it_fails(path: str, operation: dict[str, Any]) -> None:
    schemes = [name for one in operation["security"] for name in one]
    assert schemes or operation["operationId"] == "followFileLink"  # its address is its credentials
    assert set(schemes) <= DESCRIPTION["components"]["securitySchemes"].keys()
    assert operation["tags"]
    assert operation["description"]
    assert {"403", "default"} <= operation["responses"].keys()
    assert ("401" in operation["responses"]) == bool(schemes)
    assert "HTTPValidationError" not in str(operation)
    is_openai = path in ("/v1/chat/completions", "/v1/models", "/v1/models/{model}")
    media_type, schema = (
        ("application/json", "OpenAIErrorAnswer") if is_openai else ("application/problem+json", "Problem")
    )
    for status, answer in operation["responses"].items():
        if status == "204":
            assert "content" not in answer
        elif status not in ("200", "201", "202"):
            assert answer["content"].keys() == {media_type}
            assert answer["content"][media_type]["schema"] == {"$ref": f"#/components/schemas/{schema}"}


def conforms(value: Any, schema: dict[str, Any]) -> None:
    """Return if the value fits the schema."""
    Draft202012Validator({**schema, "components": DESCRIPTION["components"]}).validate(value)


@each_operation
def test_every_operation_has_a_summary_that_people_wrote(path: str, operation: dict[str, Any]) -> None:
    assert 3 < len(operation["summary"]) < 120
    assert operation["description"].startswith(operation["summary"])


@each_operation
def test_every_parameter_has_a_description_and_an_example_that_fits(path: str, operation: dict[str, Any]) -> None:
    for parameter in operation.get("parameters", []):
        assert parameter.get("description"), parameter["name"]
        conforms(parameter["example"], parameter["schema"])


@each_operation
def test_every_request_has_examples_that_fit(path: str, operation: dict[str, Any]) -> None:
    if "requestBody" not in operation:
        return
    ((_, content),) = operation["requestBody"]["content"].items()
    assert content["examples"]
    for example in content["examples"].values():
        conforms(example["value"], content["schema"])


@each_operation
def test_every_answer_has_an_example_that_fits(path: str, operation: dict[str, Any]) -> None:
    good = {status: answer for status, answer in operation["responses"].items() if status.startswith("2")}
    assert good
    for status, answer in good.items():
        assert ("content" in answer) == (status != "204")
        for kind, content in answer.get("content", {}).items():
            assert "example" in content, kind
            conforms(content["example"], content["schema"])


@each_operation
def test_every_status_has_its_problems_with_their_codes(path: str, operation: dict[str, Any]) -> None:
    documented = DOCUMENTED_CODES
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            continue
        ((kind, content),) = answer["content"].items()
        assert content["examples"], status
        for code, example in content["examples"].items():
            conforms(example["value"], content["schema"])
            if kind == "application/problem+json":
                assert code == example["value"]["code"]
                assert documented[code] == example["value"]["status"]
                assert status in (str(example["value"]["status"]), "default")
            else:
                assert code == example["value"]["error"]["code"]


def test_every_documented_problem_is_one_and_the_other_way_round() -> None:
    raised = {kind.code: kind.status for kind in all_kinds(SynteraError) if kind is not ConfigurationError}
    assert raised == DOCUMENTED_CODES


def test_description_is_valid_openapi() -> None:
    OpenAPIV31SpecValidator(DESCRIPTION).validate()


def test_credentials_are_described_by_what_they_open() -> None:
    schemes = DESCRIPTION["components"]["securitySchemes"]
    assert {name: scheme["bearerFormat"] for name, scheme in schemes.items()} == {
        "apiKey": "syn_sk_...",
        "userToken": "JWT",
        "visitorToken": "syn_vt_...",
        "publishableKey": "syn_pk_...",
    }
    security = {
        operation["operationId"]: {name for one in operation["security"] for name in one} for _, operation in OPERATIONS
    }
    assert security["sendMessage"] == {"apiKey", "userToken", "visitorToken"}
    assert security["createApiKey"] == {"apiKey", "userToken"}
    assert security["createVisitorToken"] == {"publishableKey"}


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
    followed = DESCRIPTION["paths"]["/v1/conversations/{conversationId}/events"]["get"]["responses"]["200"]
    assert followed["content"].keys() == {"text/event-stream"}
    replies = {f"Message{name}" for name in ("Started", "Delta", "Snapshot", "Completed", "Stopped", "Failed")}
    assert replies | {"Chunk", "ErrorChunk"} <= DESCRIPTION["components"]["schemas"].keys()


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
        "parts",
        "createdAt",
        "error",
        "limitedBy",
        "refused",
        "retrieval",
    }
    assert "max_completion_tokens" in schemas["ChatCompletionRequest"]["properties"]


def test_unknown_fields_are_described_as_refused() -> None:
    assert DESCRIPTION["components"]["schemas"]["MessageInput"]["additionalProperties"] is False
