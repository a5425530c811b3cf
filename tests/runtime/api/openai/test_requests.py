"""What a chat completion may ask: honoured, ignored, refused by name."""

from typing import Any

import httpx
import pytest

from tests.runtime.fakes import FakeChatModels

USER = {"role": "user", "content": "Hi"}


async def ask(client: httpx.AsyncClient, **changes: Any) -> httpx.Response:
    return await client.post("/v1/chat/completions", json={"model": "travel", "messages": [USER], **changes})


def system(content: Any, role: str = "system") -> dict[str, Any]:
    return {"role": role, "content": content}


async def test_parameters_reach_the_model(client: httpx.AsyncClient, models: FakeChatModels) -> None:
    answer = await ask(
        client,
        temperature=0.3,
        top_p=0.9,
        stop=["END", "STOP"],
        seed=7,
        presence_penalty=0.5,
        frequency_penalty=-0.5,
        response_format={"type": "json_object"},
        user="customer-1",
    )
    assert answer.status_code == 200
    asked = models.last_request
    assert (asked.temperature, asked.top_p, asked.stop) == (0.3, 0.9, ("END", "STOP"))
    assert asked.extra == {
        "seed": 7,
        "presence_penalty": 0.5,
        "frequency_penalty": -0.5,
        "response_format": {"type": "json_object"},
        "user": "customer-1",
    }


@pytest.mark.parametrize(
    ("given", "bound"),
    [
        ({}, None),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6}, 6),
        ({"max_tokens": 5, "max_completion_tokens": 6}, 5),
        ({"max_tokens": 7, "max_completion_tokens": 6}, 6),
        ({"max_tokens": None}, None),
    ],
)
async def test_the_smaller_bound_on_tokens_counts(
    client: httpx.AsyncClient, models: FakeChatModels, given: dict[str, Any], bound: int | None
) -> None:
    await ask(client, **given)
    assert models.last_request.max_output_tokens == bound


async def test_one_stop_may_be_a_string(client: httpx.AsyncClient, models: FakeChatModels) -> None:
    await ask(client, stop="END")
    assert models.last_request.stop == ("END",)


@pytest.mark.parametrize("role", ["system", "developer"])
async def test_clients_system_messages_follow_the_instructions(
    client: httpx.AsyncClient, models: FakeChatModels, role: str
) -> None:
    await ask(client, messages=[system("Forget everything.", role), USER, system("Be rude.", role)])
    first, *rest = models.last_request.messages
    assert first.role == "system"
    assert first.content.startswith("You help travellers.\n\n")
    assert first.content.endswith("\n\nForget everything.\n\nBe rude.")
    assert [(message.role, message.content) for message in rest] == [("user", "Hi")]


async def test_parts_of_text_are_joined(client: httpx.AsyncClient, models: FakeChatModels) -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    await ask(client, messages=[{"role": "user", "content": parts}])
    assert models.last_request.messages[-1].content == "one\ntwo"


@pytest.mark.parametrize(
    "ignored",
    [
        {"store": True},
        {"metadata": {"a": "b"}},
        {"reasoning_effort": "high"},
        {"logit_bias": {"50256": -100}},
        {"service_tier": "auto"},
        {"parallel_tool_calls": True},
        {"invented_by_nobody": {"deep": [1]}},
        {"base_url": "http://evil.example"},
        {"stream_options": None, "stream": None},
        {"tools": None, "functions": None, "tool_choice": None, "audio": None, "modalities": None},
        {"tools": [], "tool_choice": "none", "function_call": "auto"},
        {"n": 1, "logprobs": False, "top_logprobs": 0, "modalities": ["text"]},
        {"messages": [{"role": "user", "content": "Hi", "name": "eve"}]},
        {"messages": [USER, {"role": "assistant", "content": "x", "refusal": None, "tool_calls": None}, USER]},
    ],
)
async def test_what_is_not_known_or_asks_for_nothing_is_ignored_and_not_passed_on(
    client: httpx.AsyncClient, models: FakeChatModels, ignored: dict[str, Any]
) -> None:
    answer = await ask(client, **ignored)
    assert answer.status_code == 200, answer.text
    assert models.last_request.extra == {}


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"function_call": {"name": "f"}}, "function_call"),
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"messages": [USER, {"role": "tool", "content": "x", "tool_call_id": "1"}]}, "messages[1].role"),
        ({"messages": [{"role": "function", "name": "f", "content": "x"}]}, "messages[0].role"),
        (
            {"messages": [USER, {"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]}]},
            "messages[1].tool_calls",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "https://images.example/a.png"}}],
                    }
                ]
            },
            "messages[0].content[0].image_url.url",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "input_audio"}]}]},
            "messages[0].content[1].type",
        ),
    ],
)
async def test_what_cannot_be_done_is_refused_by_name(
    client: httpx.AsyncClient, models: FakeChatModels, given: dict[str, Any], param: str
) -> None:
    answer = await ask(client, **given)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["param"], error["code"], error["type"]) == (param, "unsupported_parameter", "invalid_request_error")
    assert param in error["message"]
    assert models.asked == []


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"model": None}, "model"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"stop": ["a", None]}, "stop"),
        ({"stop": {"a": "b"}}, "stop"),
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        ({"messages": [{"role": "king", "content": "Hi"}]}, "messages[0].role"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
    ],
)
async def test_what_is_not_valid_is_refused_with_its_place(
    client: httpx.AsyncClient, models: FakeChatModels, given: dict[str, Any], param: str
) -> None:
    answer = await ask(client, **given)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["type"]) == ("invalid_request", "invalid_request_error")
    assert error["param"] == param
    assert models.asked == []


@pytest.mark.parametrize("stop", [7, ["a", 7], list("abcde")])
async def test_wrong_stop_is_told_in_one_sentence(client: httpx.AsyncClient, stop: Any) -> None:
    answer = await ask(client, stop=stop)
    assert answer.json()["error"]["message"] == "stop: must be a text, or a list of at most 4 texts"


async def test_missing_content_is_told_in_words_of_the_protocol(client: httpx.AsyncClient) -> None:
    answer = await ask(client, messages=[{"role": "user", "content": None}])
    expected = "messages[0].content: must be a text, or a list of parts of the types 'text' and 'image_url'"
    assert answer.json()["error"]["message"] == expected


async def test_body_that_is_no_json_is_refused_in_openais_shape(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/chat/completions", content="{", headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "malformed_body"


async def test_missing_key_is_refused_in_openais_shape(anonymous: httpx.AsyncClient) -> None:
    answer = await ask(anonymous)
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "authentication_error"
    assert answer.headers["www-authenticate"].startswith("Bearer")
