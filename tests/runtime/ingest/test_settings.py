"""Settings of a sync Job."""

from uuid import UUID

import pytest

from syntera_runtime.errors import ConfigurationError
from syntera_runtime.ingest.settings import load_settings

GIVEN = {
    "SYNTERA_TENANT": "acme",
    "SYNTERA_TENANT_ID": "01890000-0000-7000-8000-000000000001",
    "SYNTERA_KNOWLEDGE_BASE": "handbook",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)


def test_settings_come_from_the_environment() -> None:
    settings = load_settings()
    assert (settings.tenant, settings.knowledge_base) == ("acme", "handbook")
    assert settings.owner == UUID(GIVEN["SYNTERA_TENANT_ID"])
    assert str(settings.config_dir) == "/var/run/syntera/knowledge"


def test_missing_and_unknown_settings_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYNTERA_KNOWLEDGE_BASE")
    monkeypatch.setenv("SYNTERA_KNOWLEDGE_BASES", "x")
    with pytest.raises(ConfigurationError, match="SYNTERA_KNOWLEDGE_BASE: Field required") as caught:
        load_settings()
    assert "SYNTERA_KNOWLEDGE_BASES is no setting, perhaps SYNTERA_KNOWLEDGE_BASE" in str(caught.value)
