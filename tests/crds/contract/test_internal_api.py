"""The internal API's messages: camel case on the wire, open to fields of later releases."""

from syntera_crds.contract import internal_api
from syntera_crds.contract.internal_api import LoadedAgent

AGENT = {"name": "travel", "revision": 7, "digest": "d" * 32}


def test_messages_read_back_as_they_were_written() -> None:
    loaded = LoadedAgent(name="travel", revision=7, digest="d" * 32)
    assert loaded.model_dump(mode="json", by_alias=True) == AGENT
    assert LoadedAgent.model_validate_json(loaded.model_dump_json(by_alias=True)) == loaded


def test_fields_of_a_later_release_are_ignored() -> None:
    read = LoadedAgent.model_validate({**AGENT, "loadedAt": "now"})
    assert read == LoadedAgent.model_validate(AGENT)


def test_path_takes_the_agents_name() -> None:
    assert internal_api.AGENT_PATH.format(agent="travel") == "/internal/v1/config/agents/travel"
