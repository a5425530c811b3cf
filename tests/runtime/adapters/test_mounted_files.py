"""ConfigMaps and Secrets as the kubelet mounts them."""

from pathlib import Path

import pytest

from syntera_crds.contract.agent_config import SecretKey
from syntera_crds.contract.tenant_config import TenantConfig
from syntera_runtime.adapters.mounted_files import MountedSecrets, MountedTenant, read_knowledge_base
from syntera_runtime.errors import ConfigurationError, SecretMissing
from tests.runtime.ingest.site import make_config

KEY = SecretKey(name="openai", key="api-key")


@pytest.fixture
def secrets(tmp_path: Path) -> MountedSecrets:
    (tmp_path / "openai").mkdir()
    (tmp_path / "openai" / "api-key").write_text("sk-one")
    return MountedSecrets(tmp_path)


def test_value_is_read_at_every_use(secrets: MountedSecrets, tmp_path: Path) -> None:
    assert secrets.value(KEY) == "sk-one"
    (tmp_path / "openai" / "api-key").write_text("sk-two")
    assert secrets.value(KEY) == "sk-two"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("other", "api-key"),
        ("openai", "other"),
        ("..", "secret"),
        ("openai", "../../secret"),
        ("/etc", "hostname"),
        ("", ""),
        ("openai", "a\0b"),
        ("openai", "."),
    ],
)
def test_what_is_not_mounted_is_missing(tmp_path: Path, name: str, key: str) -> None:
    (tmp_path / "secret").write_text("another's")
    folder = tmp_path / "secrets"
    (folder / "openai").mkdir(parents=True)
    with pytest.raises(SecretMissing, match="not mounted"):
        MountedSecrets(folder).value(SecretKey(name=name, key=key))


def test_value_that_is_no_text_is_missing(secrets: MountedSecrets, tmp_path: Path) -> None:
    (tmp_path / "openai" / "api-key").write_bytes(b"\xff")
    with pytest.raises(SecretMissing, match="no text"):
        secrets.value(KEY)


def test_tenant_is_read_or_absent(tmp_path: Path) -> None:
    assert MountedTenant(tmp_path).tenant() is None
    (tmp_path / "tenant.json").write_text("{")
    assert MountedTenant(tmp_path).tenant() is None
    config = TenantConfig(name="acme", display_name="Acme")
    (tmp_path / "tenant.json").write_text(config.to_json())
    assert MountedTenant(tmp_path).tenant() == config


def test_knowledge_base_is_read(tmp_path: Path) -> None:
    config = make_config()
    (tmp_path / "knowledge-base.json").write_text(config.to_json())
    assert read_knowledge_base(tmp_path, name=config.name) == config


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not there"),
        ('{"secret words"', "is not readable"),
        (make_config(name="other").to_json(), "of 'other'"),
    ],
)
def test_knowledge_base_that_is_none_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "knowledge-base.json").write_text(content)
    with pytest.raises(ConfigurationError, match=message) as caught:
        read_knowledge_base(tmp_path, name="handbook")
    assert "secret words" not in str(caught.value)
