"""Secrets without a cluster."""

from collections.abc import Mapping

from syntera_crds.contract.agent_config import SecretKey
from syntera_runtime.errors import SecretMissing

KEY = SecretKey(name="openai", key="api-key")


class FixedSecrets:
    """Values that a test changes; at first one key."""

    def __init__(self, values: Mapping[SecretKey, str] | None = None) -> None:
        self.values = dict(values or {(KEY): "sk-one"})

    def value(self, ref: SecretKey) -> str:
        if ref not in self.values:
            raise SecretMissing(f"The Secret {ref.name!r} is missing.")
        return self.values[ref]
