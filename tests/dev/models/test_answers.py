"""The rules by which the stand-in answers."""

import base64
import hashlib
from typing import Any

import pytest

from syntera_dev.models.answers import DISCLOSURE, count_tokens, make_answer
from syntera_dev.models.protocol import Answer, ChatRequest

INSTRUCTIONS = (
    "You are Maya, the travel assistant of Acme Travel. Be brief.\n"
    "- Refunds are possible up to 24 hours before departure.\n"
    "- We fly to Lisbon, Rome and Oslo."
)
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Looks up the weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                "detail": {"type": "boolean"},
                "ignored": {"type": "string"},
            },
            "required": ["city", "days", "unit", "detail"],
        },
    },
}


def answer_to(*messages: tuple[str, str], **fields: Any) -> Answer:
    made = [{"role": role, "content": content} for role, content in messages]
    return make_answer(ChatRequest.model_validate({"model": "stand-in-echo", "messages": made, **fields}))


def test_answer_says_which_images_it_was_shown() -> None:
    url = "data:image/png;base64," + base64.b64encode(b"a picture").decode()
    parts = [{"type": "image_url", "image_url": {"url": one}} for one in (url, "https://images.example/a.png")]
    message = {"role": "user", "content": [{"type": "text", "text": "See"}, *parts]}
    answer = make_answer(ChatRequest.model_validate({"model": "stand-in-echo", "messages": [message]}))
    assert f"an image: image/png, SHA-256 {hashlib.sha256(b'a picture').hexdigest()}." in answer.text
    assert "an image at an address, which I do not fetch." in answer.text


def test_answer_introduces_itself_as_instructed_when_the_chat_begins() -> None:
    answer = answer_to(("system", INSTRUCTIONS), ("user", "Can I get a refund?"))
    assert answer.text == (
        "Hello! I am Maya, the travel assistant of Acme Travel.\n\n"
        "You asked: **Can I get a refund?**\n\n"
        "What I have been told about that: Refunds are possible up to 24 hours before departure.\n\n" + DISCLOSURE
    )


def test_answer_refers_to_the_question_before_when_there_was_one() -> None:
    answer = answer_to(
        ("system", INSTRUCTIONS), ("user", "Hi"), ("assistant", "Hello!"), ("user", "Do you  fly\nto Rome?")
    )
    assert answer.text.startswith("Before this you asked “Hi”.\n\nYou asked: **Do you fly to Rome?**")
    assert "We fly to Lisbon, Rome and Oslo." in answer.text


def test_answer_gives_no_advice_when_no_instruction_fits() -> None:
    assert "told about that" not in answer_to(("system", INSTRUCTIONS), ("user", "Sing!")).text


def test_answer_greets_plainly_without_instructions() -> None:
    assert answer_to(("user", "Hi")).text == f"Hello!\n\nYou asked: **Hi**\n\n{DISCLOSURE}"


def test_answer_is_the_same_for_the_same_request() -> None:
    request = (("system", INSTRUCTIONS), ("user", "Refund?"))
    assert answer_to(*request) == answer_to(*request)


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("a", 1), ("four", 1), ("fünfe", 2)])
def test_tokens_are_a_quarter_of_the_bytes(text: str, tokens: int) -> None:
    assert count_tokens(text) == tokens


def test_prompt_tokens_count_every_message() -> None:
    assert answer_to(("system", "four"), ("user", "four")).prompt_tokens == 2 * (1 + 4)


@pytest.mark.parametrize("parameter", ["max_tokens", "max_completion_tokens"])
def test_answer_is_cut_at_the_bound(parameter: str) -> None:
    answer = answer_to(("user", "Hi"), **{parameter: 2})
    assert (answer.text, answer.completion_tokens, answer.finish_reason) == ("Hello!\n\n", 2, "length")


def test_answer_ends_before_a_stop_text() -> None:
    answer = answer_to(("user", "Hi"), stop=["asked", "!"])
    assert (answer.text, answer.finish_reason) == ("Hello", "stop")


def test_pieces_join_to_the_text() -> None:
    answer = answer_to(("system", INSTRUCTIONS), ("user", "Refund?"))
    assert len(answer.pieces) > 10
    assert "".join(answer.pieces) == answer.text


def test_tool_is_called_when_the_question_speaks_of_it() -> None:
    answer = answer_to(("user", "How is the weather for 3 days?"), tools=[WEATHER])
    assert answer.finish_reason == "tool_calls"
    assert answer.tool_calls[0].name == "get_weather"
    assert answer.tool_calls[0].arguments == {
        "city": "How is the weather for 3 days?",
        "days": 3,
        "unit": "celsius",
        "detail": True,
    }


@pytest.mark.parametrize(
    ("question", "choice", "called"),
    [
        ("Sing!", "auto", False),
        ("Sing!", "required", True),
        ("Sing!", {"type": "function", "function": {"name": "get_weather"}}, True),
        ("How is the weather?", "none", False),
    ],
)
def test_tool_choice_is_followed(question: str, choice: object, called: bool) -> None:
    assert bool(answer_to(("user", question), tools=[WEATHER], tool_choice=choice).tool_calls) is called


def test_answer_tells_the_result_after_a_tool_ran() -> None:
    answer = answer_to(("user", "Weather?"), ("tool", "sunny"), tools=[WEATHER])
    assert (answer.text, answer.tool_calls) == ("The tool answered: sunny", ())


def test_text_is_read_from_content_parts() -> None:
    message = {"role": "user", "content": [{"type": "text", "text": "Hi "}, {"type": "text", "text": "there"}]}
    request = ChatRequest.model_validate({"model": "stand-in-echo", "messages": [message]})
    assert "You asked: **Hi there**" in make_answer(request).text


PASSAGES = """\
[Passages from documents]

[1]
> Baggage \N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK} Checked bags
>
> # Checked bags
>
> - A checked bag of 23 kg costs
>   35 euros.
> - Skis count as a checked bag. They may be 2 m long.

[2]
> Pets
>
> | animal | price |
> | --- | --- |
> | Dogs in the hold | 60 euros |
>
> Guide dogs travel free of charge [ 1 ].

[End of the passages]

"""
RULES = "\n\nBefore the newest message of the user stand passages from documents. The desk is open until noon [2]."


@pytest.mark.parametrize(
    ("question", "read"),
    [
        ("What does a checked bag cost?", "A checked bag of 23 kg costs 35 euros. [1]"),
        ("How long may skis be?", "Skis count as a checked bag. [1]"),
        ("Are guide dogs free of charge?", "Guide dogs travel free of charge [ 1 ]. [2]"),
        ("What is the price of dogs in the hold?", "Dogs in the hold | 60 euros [2]"),
    ],
)
def test_answer_repeats_the_passage_that_fits_with_its_number(question: str, read: str) -> None:
    answer = answer_to(("system", INSTRUCTIONS + RULES), ("user", PASSAGES + question))
    assert f"You asked: **{question}**" in answer.text
    assert f"What I have read about that: {read}\n" in answer.text
    assert "been told" not in answer.text


def test_answer_falls_back_on_instructions_where_no_passage_fits() -> None:
    answer = answer_to(("system", INSTRUCTIONS + RULES), ("user", PASSAGES + "Do you fly to Oslo?"))
    assert "I have read nothing about that." in answer.text
    assert "What I have been told about that: We fly to Lisbon, Rome and Oslo." in answer.text


def test_rules_of_the_prompt_are_no_advice() -> None:
    answer = answer_to(("system", INSTRUCTIONS + RULES), ("user", PASSAGES + "Is the desk open at noon?"))
    assert "been told" not in answer.text
    assert "[2]" not in answer.text


def test_question_that_only_looks_like_passages_is_a_question() -> None:
    answer = answer_to(("user", "What are [Passages from documents]?"))
    assert "You asked: **What are [Passages from documents]?**" in answer.text
