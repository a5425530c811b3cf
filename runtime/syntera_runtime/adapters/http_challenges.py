"""Asks providers of challenges whether a response is right, by the call that Turnstile, hCaptcha and reCAPTCHA have in common.

A form with `secret`, `response` and `remoteip` is posted to the address that the Tenant names and no other; the answer is
JSON with `success`. Neither form nor answer is ever logged, and no error carries them.
"""

import asyncio
from http.cookiejar import CookieJar, DefaultCookiePolicy

import structlog
from httpx2 import AsyncClient, HTTPError, InvalidURL, Limits, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import ChallengeUnavailable
from ..models.identity import ChallengeVerdict
from .public_trust import public_trust

VERIFY_SECONDS = 5.0
MAX_BYTES = 16 * 1024
"""Answers have some hundred bytes."""
MAX_CONNECTIONS = 32
"""However many visitors come at once, one tenant's pod opens no more; who finds none free within the time is refused."""
_ANSWERED = (200, 400)
"""A provider may call a malformed response a bad request, and still says so in JSON."""
_NOT_THE_VISITORS = frozenset({"missing-input-secret", "invalid-input-secret", "internal-error"})
"""Codes of errors that no response of a visitor causes."""
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity"}

log = structlog.get_logger(__name__)


class _Answer(BaseModel):
    """The part of a provider's answer that counts."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    success: bool
    hostname: str | None = None
    error_codes: list[str] | None = Field(default=None, alias="error-codes")


class HttpChallenges:
    """`ChallengeVerifier` over HTTP. Nothing of the process's environment is used, and no cookie is kept."""

    def __init__(self) -> None:
        self._client = AsyncClient(
            verify=public_trust(),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            follow_redirects=False,
            trust_env=False,
            timeout=None,
            limits=Limits(max_connections=MAX_CONNECTIONS),
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def verify(self, url: str, *, secret: str, response: str, address: str | None) -> ChallengeVerdict:
        """See `ChallengeVerifier`."""
        form = {"secret": secret, "response": response}
        if address is not None:
            form["remoteip"] = address
        try:
            answer = _Answer.model_validate_json(await self._post(url, form))
        except ValidationError:
            raise _unavailable("NoVerdict") from None
        except (HTTPError, InvalidURL, OSError, TimeoutError, ValueError) as error:
            raise _unavailable(type(error).__name__) from None
        if faults := sorted(_NOT_THE_VISITORS.intersection(answer.error_codes or ())):
            raise _unavailable(*faults)
        return ChallengeVerdict(is_solved=answer.success, hostname=answer.hostname)

    async def _post(self, url: str, form: dict[str, str]) -> bytes:
        async with (
            asyncio.timeout(VERIFY_SECONDS),
            self._client.stream("POST", url, data=form, headers=_HEADERS) as answer,
        ):
            if answer.status_code not in _ANSWERED:
                raise _unavailable(f"HTTP {answer.status_code}")
            return await _read(answer)


async def _read(answer: Response) -> bytes:
    text = bytearray()
    async for chunk in answer.aiter_raw():
        text += chunk
        if len(text) > MAX_BYTES:
            raise _unavailable("TooLarge")
    return bytes(text)


def _unavailable(*causes: str) -> ChallengeUnavailable:
    """The error, after the log was told what no stranger has to know."""
    log.warning("challenge not verified", causes=causes)
    return ChallengeUnavailable()
