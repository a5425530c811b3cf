"""Keys that are derived from the tenant's signing key, one for each purpose: none tells another, or the signing key."""

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..models.ids import ApiKeyId, TenantId, WebhookId
from ..ports.identity import SigningKey


class DerivedKeys:
    """The derived keys of one tenant. Another signing key gives others: tokens, identity secrets and webhooks' secrets of
    before are void."""

    def __init__(self, signing_key: SigningKey, tenant_id: TenantId) -> None:
        self._signing_key = signing_key
        self._tenant_id = tenant_id

    def of_visitor_tokens(self) -> bytes:
        """What visitors' tokens are signed with.

        Raises:
            SigningKeyMissing: There is nothing to derive it from.
        """
        return self._derive(b"visitor-token")

    def of_file_links(self) -> bytes:
        """What links to files are signed with.

        Raises:
            SigningKeyMissing: There is nothing to derive it from.
        """
        return self._derive(b"file-link")

    def of_identities(self, key_id: ApiKeyId) -> str:
        """What a site vouches for its users with, beside that publishable key.

        Raises:
            SigningKeyMissing: There is nothing to derive it from.
        """
        return self._derive(b"identity:" + key_id.bytes).hex()

    def of_webhook(self, webhook_id: WebhookId, version: int) -> bytes:
        """See `WebhookSecrets`.

        Raises:
            SigningKeyMissing: There is nothing to derive it from.
        """
        return self._derive(b"webhook:" + webhook_id.bytes + b":" + str(version).encode())

    def _derive(self, purpose: bytes) -> bytes:
        info = b"syntera:" + self._tenant_id.bytes + b":" + purpose
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(self._signing_key.secret())
