"""OpenAI's errors in the OpenAPI description."""

from typing import Any

from pydantic import BaseModel

from ..problems import OpenAIError


class OpenAIErrorAnswer(BaseModel):
    """Why a request failed, as OpenAI says it."""

    error: OpenAIError


def openai_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of a path operation."""
    listed: dict[int | str, dict[str, Any]] = {
        status: {"model": OpenAIErrorAnswer} for status in sorted({*statuses, 401, 403, 429})
    }
    return {**listed, "default": {"model": OpenAIErrorAnswer, "description": "Another error."}}
