"""How the stand-in is started and how it behaves until a test tells it otherwise."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic_settings import BaseSettings, SettingsConfigDict

Seconds = Annotated[float, Field(ge=0, le=600)]


class Behaviour(BaseModel):
    """What holds for every request. JSON in camel case; a change through `PATCH /control` is live at once."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    delay_seconds: Seconds = 0.0
    """Time before an answer begins."""
    word_delay_seconds: Seconds = 0.0
    """Time between two words of a streamed answer."""
    api_keys: list[str] | None = None
    """Keys that are let in; everything else gets 401. None: everybody is let in."""
    stream_usage: bool = True
    """False: streams never report usage, as servers do that do not know `stream_options.include_usage`."""


class ServerSettings(BaseSettings):
    """Environment of the process, prefix `SYNTERA_MODELS_`."""

    model_config = SettingsConfigDict(env_prefix="SYNTERA_MODELS_", frozen=True, use_attribute_docstrings=True)

    host: str = "127.0.0.1"
    """Address to listen on; a container sets `0.0.0.0`."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    """Port to listen on."""
    delay_seconds: Seconds = 0.2
    """Time before an answer begins, so that a demo looks like a real one."""
    word_delay_seconds: Seconds = 0.03
    """Time between two words of a streamed answer."""

    def behaviour(self) -> Behaviour:
        """The behaviour that the server starts with and returns to on `DELETE /control`."""
        return Behaviour(delay_seconds=self.delay_seconds, word_delay_seconds=self.word_delay_seconds)
