"""Feedback and marks through the API."""

from uuid import uuid4

import httpx
import pytest


async def talk(client: httpx.AsyncClient) -> tuple[str, str, str]:
    """A conversation's path, and the ids of a question and its reply."""
    made = (await client.post("/v1/agents/travel/conversations")).json()
    path = f"/v1/conversations/{made['id']}"
    said = (await client.post(f"{path}/messages", json={"content": "Hi"})).json()
    return path, said["userMessage"]["id"], said["message"]["id"]


async def feedback_of(client: httpx.AsyncClient, path: str) -> list[tuple[str, str | None]]:
    exported = (await client.get(f"{path}/export")).json()
    return [(feedback["rating"], feedback["comment"]) for feedback in exported["feedback"]]


async def test_later_feedback_replaces_the_earlier(client: httpx.AsyncClient) -> None:
    path, _, reply = await talk(client)
    feedback = f"{path}/messages/{reply}/feedback"
    answer = await client.put(feedback, json={"rating": "down", "comment": "Too slow"})
    assert (answer.status_code, answer.json()["rating"]) == (200, "down")
    await client.put(feedback, json={"rating": "up"})
    assert await feedback_of(client, path) == [("up", None)]


async def test_feedback_can_be_taken_back_and_given_again(client: httpx.AsyncClient) -> None:
    path, _, reply = await talk(client)
    feedback = f"{path}/messages/{reply}/feedback"
    await client.put(feedback, json={"rating": "down"})
    assert (await client.delete(feedback)).status_code == 204
    assert (await client.delete(feedback)).status_code == 204
    assert await feedback_of(client, path) == []
    await client.put(feedback, json={"rating": "up"})
    assert await feedback_of(client, path) == [("up", None)]


async def test_feedback_on_what_is_no_reply_is_refused(client: httpx.AsyncClient) -> None:
    path, question, reply = await talk(client)
    elsewhere, _, _ = await talk(client)
    for target in (f"{path}/messages/{question}", f"{path}/messages/{uuid4()}", f"{elsewhere}/messages/{reply}"):
        answer = await client.put(f"{target}/feedback", json={"rating": "up"})
        assert (answer.status_code, answer.json()["code"]) == (404, "message-not-found")


@pytest.mark.parametrize(
    "body", [{}, {"rating": "fine"}, {"rating": "up", "comment": "  "}, {"rating": "up", "stars": 5}]
)
async def test_feedback_that_is_not_valid_is_refused(client: httpx.AsyncClient, body: dict[str, object]) -> None:
    path, _, reply = await talk(client)
    assert (await client.put(f"{path}/messages/{reply}/feedback", json=body)).status_code == 400


async def test_marks_move_forward_only(client: httpx.AsyncClient) -> None:
    path, question, reply = await talk(client)
    assert (await client.put(f"{path}/marks", json={"deliveredMessageId": reply})).json() == {
        "readMessageId": None,
        "deliveredMessageId": reply,
    }
    await client.put(f"{path}/marks", json={"readMessageId": reply})
    answer = await client.put(f"{path}/marks", json={"readMessageId": question, "deliveredMessageId": question})
    assert answer.json() == {"readMessageId": reply, "deliveredMessageId": reply}


async def test_what_was_read_has_arrived(client: httpx.AsyncClient) -> None:
    path, _, reply = await talk(client)
    marks = (await client.put(f"{path}/marks", json={"readMessageId": reply})).json()
    assert marks["deliveredMessageId"] == reply


async def test_marks_of_an_unknown_conversation_are_a_problem(client: httpx.AsyncClient) -> None:
    answer = await client.put(f"/v1/conversations/{uuid4()}/marks", json={})
    assert (answer.status_code, answer.json()["code"]) == (404, "conversation-not-found")
