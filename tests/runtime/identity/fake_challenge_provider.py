"""A fake provider of challenges: a real HTTP server that verifies responses as Turnstile, hCaptcha and reCAPTCHA do.

It is none of these, and shows nothing to a browser: `solve` stands for the browser that solves a challenge.
"""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs

from fastapi import FastAPI, Request

from tests.runtime.serving import served

SECRET = "0x4AAA-secret"


class FakeChallengeProvider:
    """Takes each response that it has given out once."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[dict[str, str]] = []
        """The forms that came in."""
        self._solved: dict[str, str] = {}
        """Responses with the host of the page on which they were solved."""
        self._numbers = itertools.count(1)

    def solve(self, hostname: str = "www.acme.example") -> str:
        """What a browser gets for solving the challenge on a page of that host."""
        response = f"0.response-{next(self._numbers)}"
        self._solved[response] = hostname
        return response

    def verify(self, form: dict[str, str]) -> dict[str, object]:
        """What is answered."""
        self.asked.append(form)
        if form.get("secret") != SECRET:
            return {"success": False, "error-codes": ["invalid-input-secret"]}
        hostname = self._solved.pop(form.get("response", ""), None)
        if hostname is None:
            return {"success": False, "error-codes": ["timeout-or-duplicate"]}
        return {"success": True, "hostname": hostname, "challenge_ts": "2026-11-01T12:00:00Z", "error-codes": []}


@asynccontextmanager
async def fake_challenge_provider() -> AsyncIterator[FakeChallengeProvider]:
    """A provider on a loopback port."""
    provider, app = FakeChallengeProvider(), FastAPI()

    @app.post("/siteverify")
    async def siteverify(request: Request) -> dict[str, object]:
        assert request.headers["content-type"] == "application/x-www-form-urlencoded"
        fields = parse_qs((await request.body()).decode(), keep_blank_values=True, strict_parsing=True)
        return provider.verify({name: values[0] for name, values in fields.items()})

    async with served(app) as url:
        provider.url = f"{url}/siteverify"
        yield provider
