"""What the stand-in says: fixed rules over the request, pure and without chance, so that a test can foretell them.

An answer to a user introduces the assistant as its instructions name it, quotes the question, and repeats the sentence of
the instructions that has most words in common with the question; so a changed instruction, a lost history or a wrong
agent shows in the text. Where the question comes with passages of documents, it repeats the sentence of theirs that fits best, with
the passage's number. Tokens are counted as a quarter of a text's UTF-8 bytes, rounded up, and four per message.
"""

import base64
import hashlib
import math
import re
from collections.abc import Sequence
from typing import Any

from syntera_dev.models.passages import NOTHING_FOUND, GivenPassage, split_question, without_rules
from syntera_dev.models.protocol import Answer, ChatMessage, ChatRequest, Function, Tool, ToolCall

_MESSAGE_TOKENS = 4
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_ROLE = re.compile(r"\byou are ([^.!\n]+)", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]{3,}")
_STEM_LENGTH = 5
# Too common to tell what a sentence is about.
_COMMON = frozenset(
    re.findall(
        r"\w+",
        """
        about also always and any are can could does for from have how may not only our please shall should tell that
        the their them there these they this what when where which who will with would you your
        """,
    )
)
_QUOTE_LENGTH = 200
DISCLOSURE = "*(I am a stand-in for a language model and answer by rule.)*"


def count_tokens(text: str) -> int:
    """A quarter of the text's UTF-8 bytes, rounded up."""
    return math.ceil(len(text.encode()) / 4)


def count_prompt_tokens(messages: Sequence[ChatMessage]) -> int:
    """The tokens of all messages, each with its share of overhead."""
    return sum(count_tokens(message.text) + _MESSAGE_TOKENS for message in messages)


def make_answer(request: ChatRequest) -> Answer:
    """Answer a chat: call a function that fits, tell a function's result, or talk."""
    last = request.messages[-1]
    tool = _choose_tool(request) if last.role == "user" else None
    if tool is not None:
        return _call(tool, question=last.text, messages=request.messages)
    text = f"The tool answered: {last.text}" if last.role == "tool" else _talk(request.messages)
    return make_text_answer(text, request)


def make_text_answer(text: str, request: ChatRequest) -> Answer:
    """Turn a text into an answer within the request's bounds: stop texts first, then the number of tokens."""
    for stop in request.stops:
        text = text.partition(stop)[0] if stop else text
    prompt_tokens = count_prompt_tokens(request.messages)
    bounds = [bound for bound in (request.max_tokens, request.max_completion_tokens) if bound is not None]
    if not bounds or count_tokens(text) <= min(bounds):
        return Answer(text, prompt_tokens, count_tokens(text))
    cut = text.encode()[: min(bounds) * 4].decode(errors="ignore")
    return Answer(cut, prompt_tokens, count_tokens(cut), finish_reason="length")


def _talk(messages: Sequence[ChatMessage]) -> str:
    instructions = "\n".join(message.text for message in messages if message.role in {"system", "developer"})
    questions = [message.text.strip() for message in messages if message.role == "user"]
    passages, question = split_question(questions[-1]) if questions else ((), "")
    parts = []
    if len(questions) < 2:
        parts.append(_introduction(instructions))
    else:
        parts.append(f"Before this you asked “{_quote(questions[-2])}”.")
    parts.append(f"You asked: **{_quote(question)}**" if question else "Ask me something.")
    parts += [_describe_image(url) for message in messages[-1:] for url in message.images]
    found = _cite(passages, question)
    advice = _fitting_sentence(without_rules(instructions), question)
    if found:
        parts.append(f"What I have read about that: {found}")
    elif passages or NOTHING_FOUND in instructions:
        parts.append("I have read nothing about that.")
    if advice and not found:
        parts.append(f"What I have been told about that: {advice}")
    parts.append(DISCLOSURE)
    return "\n\n".join(parts)


def _describe_image(url: str) -> str:
    """Type and hash of an image, so that a test knows that the very same bytes arrived."""
    head, _, data = url.partition(",")
    if not head.startswith("data:"):
        return "You showed me an image at an address, which I do not fetch."
    content = base64.b64decode(data)
    media_type = head.removeprefix("data:").removesuffix(";base64")
    return f"You showed me an image: {media_type}, SHA-256 {hashlib.sha256(content).hexdigest()}."


def _introduction(instructions: str) -> str:
    role = _ROLE.search(instructions)
    return f"Hello! I am {role.group(1).strip()}." if role else "Hello!"


def _fitting_sentence(instructions: str, question: str) -> str:
    """The sentence that shares most words with the question; the first of equals, "" if none shares any."""
    wanted = find_stems(question)
    sentences = [sentence.strip(" -*#\t") for sentence in _SENTENCE_END.split(instructions)]
    best = max(sentences, key=lambda sentence: len(find_stems(sentence) & wanted))
    return best if find_stems(best) & wanted else ""


def _cite(passages: Sequence[GivenPassage], question: str) -> str:
    """The passages' sentence that fits the question best, with its number; "" if none shares a word with it.

    Words of the sentence count twice, those of the passage's place once; the first of equals, because the best passage stands first.
    """
    wanted = find_stems(question)
    sentences = [
        (2 * len(find_stems(sentence) & wanted) + len(find_stems(passage.place) & wanted), sentence, passage.number)
        for passage in passages
        for sentence in passage.sentences
    ]
    score, sentence, number = max(sentences, key=lambda entry: entry[0], default=(0, "", 0))
    return f"{_shorten(sentence)} [{number}]" if score else ""


def find_stems(text: str) -> set[str]:
    """The beginnings of the words that tell what a text is about."""
    words = (word.lower() for word in _WORD.findall(text))
    return {word[:_STEM_LENGTH] for word in words if word not in _COMMON}


def _quote(text: str) -> str:
    return _shorten(" ".join(text.split()))


def _shorten(line: str) -> str:
    return line if len(line) <= _QUOTE_LENGTH else line[:_QUOTE_LENGTH].rstrip() + "…"


def _choose_tool(request: ChatRequest) -> Function | None:
    """The function that the client demands, else the first whose name or description shares a word with the question."""
    if isinstance(request.tool_choice, Tool):
        return request.tool_choice.function
    if not request.tools or request.tool_choice == "none":
        return None
    wanted = find_stems(request.messages[-1].text)
    for tool in request.tools:
        if find_stems(f"{tool.function.name} {tool.function.description}".replace("_", " ")) & wanted:
            return tool.function
    return request.tools[0].function if request.tool_choice == "required" else None


def _call(function: Function, *, question: str, messages: Sequence[ChatMessage]) -> Answer:
    properties: dict[str, Any] = function.parameters.get("properties", {})
    required = function.parameters.get("required", list(properties))
    arguments = {name: _argument(properties.get(name, {}), question) for name in required}
    call = ToolCall(call_id=f"call_{len(messages)}", name=function.name, arguments=arguments)
    return Answer(
        text="",
        prompt_tokens=count_prompt_tokens(messages),
        completion_tokens=count_tokens(str(call.to_json())),
        finish_reason="tool_calls",
        tool_calls=(call,),
    )


def _argument(schema: dict[str, Any], question: str) -> object:
    """A value that the schema allows: what the question holds of that kind, else the plainest one."""
    if schema.get("enum"):
        return schema["enum"][0]
    match schema.get("type"):
        case "integer" | "number" as kind:
            number = re.search(r"\d+(\.\d+)?", question)
            value = float(number.group()) if number else 0.0
            return int(value) if kind == "integer" else value
        case "boolean":
            return True
        case "array":
            return []
        case "object":
            return {}
        case _:
            return question
