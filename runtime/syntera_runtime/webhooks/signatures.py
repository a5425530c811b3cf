"""Signatures of deliveries, and the text of the secrets that they are checked with."""

import base64
from collections.abc import Sequence
from datetime import datetime

from standardwebhooks import Webhook as Signer

from ..models.ids import EventId


def format_secret(secret: bytes) -> str:
    """The secret as its receiver sets it."""
    return f"whsec_{base64.b64encode(secret).decode()}"


def build_headers(event_id: EventId, body: bytes, secrets: Sequence[bytes], *, now: datetime) -> dict[str, str]:
    """The headers of a delivery; a receiver that has any one of the secrets finds its signature.

    Args:
        now: In UTC; receivers refuse what is older than some minutes.
    """
    signatures = (Signer(secret).sign(str(event_id), now, body.decode()) for secret in secrets)
    return {
        "Content-Type": "application/json",
        "webhook-id": str(event_id),
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
