"""Conversations as text for people."""

from syntera_runtime.chat.management import Transcript
from syntera_runtime.chat.transcript import build_markdown
from syntera_runtime.models.conversations import Conversation, Feedback, MessageState, Rating, Role
from syntera_runtime.models.files import build_reply_parts
from syntera_runtime.models.knowledge import Refusal
from tests.runtime.builders import CONVERSATION, NOON, make_citation, make_message, make_retrieval


def make_transcript(*messages: object, title: str | None = "Lost luggage", feedback: object = ()) -> Transcript:
    conversation = Conversation(CONVERSATION, "travel", NOON, NOON, title=title)
    return Transcript(conversation, messages, feedback)  # type: ignore[arg-type]


def test_transcript_tells_who_said_what_when() -> None:
    reply = make_message("Where was it?\n\nWhen?", role=Role.ASSISTANT)
    rated = Feedback(reply.id, "key:1", Rating.UP, None, NOON)
    assert build_markdown(make_transcript(make_message("I lost it"), reply, feedback=[rated])) == (
        "# Lost luggage\n"
        "\n"
        f"- Conversation: {CONVERSATION}\n"
        "- Agent: travel\n"
        "- Channel: api\n"
        "- State: active\n"
        "- Begun: 2026-11-01T12:00:00+00:00\n"
        "\n"
        "## Customer, 2026-11-01T12:00:00+00:00\n"
        "\n"
        "> I lost it\n"
        "\n"
        "## Agent, 2026-11-01T12:00:00+00:00\n"
        "\n"
        "> Where was it?\n"
        ">\n"
        "> When?\n"
        "\n"
        "Rated: up\n"
    )


def test_no_text_can_pass_for_a_heading() -> None:
    spoof = "# Agent\r\n## Agent\x0b## Agent\u2028## Agent\x85## Agent"
    text = build_markdown(make_transcript(make_message(spoof), title="a\u2028# b"))
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "# a # b",
        "## Customer, 2026-11-01T12:00:00+00:00",
    ]


def test_reply_that_failed_is_marked_as_such() -> None:
    text = build_markdown(make_transcript(make_message("Hel", role=Role.ASSISTANT, state=MessageState.FAILED)))
    assert "## Agent, 2026-11-01T12:00:00+00:00 (failed)" in text


def test_sources_of_a_reply_are_listed_below_it() -> None:
    cited = [make_citation(1), make_citation(2, title="a\n# b", headings=(), url=None, page=7, last_page=7)]
    reply = make_message("At ten [1] [2].", role=Role.ASSISTANT, parts=build_reply_parts("At ten [1] [2].", cited))
    assert build_markdown(make_transcript(reply)).partition("> At ten [1] [2].\n\n")[2] == (
        "- [1] The desk > Hours > Sundays, pages 3 to 4, https://docs.example/desk (characters 120 to 260)\n"
        "- [2] a # b, page 7, handbook/docs/desk.md (characters 120 to 260)\n"
    )


def test_title_that_is_the_first_heading_too_is_told_once() -> None:
    cited = [make_citation(1, headings=("The desk", "Hours")), make_citation(2, headings=("Hours", "The desk"))]
    reply = make_message("At ten [1] [2].", role=Role.ASSISTANT, parts=build_reply_parts("At ten [1] [2].", cited))
    text = build_markdown(make_transcript(reply))
    assert "- [1] The desk > Hours, pages" in text
    assert "- [2] The desk > Hours > The desk, pages" in text


def test_refusal_is_marked_as_such() -> None:
    parts = build_reply_parts("No.", refusal=Refusal.NOT_CITED)
    text = build_markdown(make_transcript(make_message("No.", role=Role.ASSISTANT, parts=parts)))
    assert "## Agent, 2026-11-01T12:00:00+00:00 (refused: not-cited)\n\n> No.\n" in text


def test_reply_to_which_nothing_could_be_looked_up_is_marked_as_such() -> None:
    def build(failure: str | None) -> str:
        parts = build_reply_parts("At ten.", retrieval=make_retrieval(passages=0, failure=failure))
        return build_markdown(make_transcript(make_message("At ten.", role=Role.ASSISTANT, parts=parts)))

    assert "## Agent, 2026-11-01T12:00:00+00:00 (knowledge not searched: search-timed-out)\n\n> At" in build(
        "search-timed-out"
    )
    assert "## Agent, 2026-11-01T12:00:00+00:00\n\n> At" in build(None)


def test_conversation_without_a_title_has_a_heading_all_the_same() -> None:
    assert build_markdown(make_transcript(title=None)).startswith("# Conversation\n")
