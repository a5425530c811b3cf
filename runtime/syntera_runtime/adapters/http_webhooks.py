"""Posts to endpoints of others, through the guard. Of an answer only the status and `Retry-After` count."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import aiohttp

from syntera_crds import __version__

from ..egress.targets import TargetRefused
from ..models.webhooks import DeliveryFailure, SendResult
from .guarded_http import GuardedHttp

_USER_AGENT = f"Syntera/{__version__}"


class HttpWebhooks:
    """`WebhookSender` over HTTP."""

    def __init__(self, http: GuardedHttp) -> None:
        self._http = http

    async def send(self, url: str, body: bytes, headers: Mapping[str, str], *, seconds: float) -> SendResult:
        """See `WebhookSender`. The body of the answer is not read."""
        sent = {"User-Agent": _USER_AGENT, **headers}
        try:
            async with asyncio.timeout(seconds), self._http.request("POST", url, body=body, headers=sent) as answer:
                retry_after = _read_retry_after(answer.headers.get("Retry-After"))
                return SendResult.answered(answer.status, retry_after=retry_after)
        except TargetRefused:
            return SendResult(failure=DeliveryFailure.ADDRESS_REFUSED)
        except TimeoutError:
            return SendResult(failure=DeliveryFailure.TIMEOUT)
        except (aiohttp.ClientError, OSError, ValueError):
            return SendResult(failure=DeliveryFailure.CONNECTION)


def _read_retry_after(text: str | None) -> timedelta | None:
    """Seconds, or a time; None: nothing that makes sense."""
    if text is None:
        return None
    if text.isascii() and text.isdecimal():
        return timedelta(seconds=min(int(text[:9]), 10**6))
    try:
        at = parsedate_to_datetime(text)
        return max(timedelta(), at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC))
    except (ValueError, OverflowError):
        return None
