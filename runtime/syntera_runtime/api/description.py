"""The OpenAPI description, where FastAPI's own falls short: the media type of problems, and the events of streams."""

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from .events import MessageCompleted, MessageDelta, MessageFailed, MessageStarted
from .openai.answers import Chunk, ChunkWithUsage, ErrorChunk
from .problems import PROBLEM_MEDIA_TYPE

_STREAMED = (MessageStarted, MessageDelta, MessageCompleted, MessageFailed, Chunk, ChunkWithUsage, ErrorChunk)
_REFERENCE = "#/components/schemas/{model}"
_PROBLEM = {"schema": {"$ref": _REFERENCE.format(model="Problem")}}


class DescribedApp(FastAPI):
    """A FastAPI app whose description generated clients can rely on."""

    def openapi(self) -> dict[str, Any]:
        """The description; made once."""
        if self.openapi_schema is None:
            description = super().openapi()
            _say_how_problems_come(description)
            _add_schemas_of_streams(description)
            self.openapi_schema = description
        return self.openapi_schema


def _say_how_problems_come(description: dict[str, Any]) -> None:
    """FastAPI gives every answer of an operation the media type of the good one."""
    for methods in description["paths"].values():
        for operation in methods.values():
            for answer in operation["responses"].values():
                if answer["content"].get("application/json") == _PROBLEM:
                    answer["content"] = {PROBLEM_MEDIA_TYPE: _PROBLEM}


def _add_schemas_of_streams(description: dict[str, Any]) -> None:
    _, made = models_json_schema([(model, "serialization") for model in _STREAMED], ref_template=_REFERENCE)
    schemas = description["components"]["schemas"]
    for name, schema in made["$defs"].items():
        schemas.setdefault(name, schema)
