"""Settings from the environment."""

from pathlib import Path
from uuid import UUID

import pytest

from syntera_runtime.config import load_settings
from syntera_runtime.errors import ConfigurationError

NEEDED = {
    "SYNTERA_TENANT": "acme",
    "SYNTERA_TENANT_ID": "01890a5d-ac96-774b-bcce-b302099a8057",
    "SYNTERA_NAMESPACE": "acme",
    "SYNTERA_INTERNAL_AUDIENCE": "runtime.01890a5d.syntera.io",
    "SYNTERA_OPERATOR_SUBJECT": "system:serviceaccount:syntera-system:syntera",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What every Deployment sets."""
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)


def test_settings_have_defaults_where_the_deployment_says_nothing() -> None:
    settings = load_settings()
    assert settings.tenant == "acme"
    assert settings.owner == UUID(NEEDED["SYNTERA_TENANT_ID"])
    assert settings.stores_dir == Path("/var/run/syntera/stores")
    assert (settings.public_port, settings.internal_port) == (8080, 8081)


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTERA_DRAIN_SECONDS", "2.5")
    monkeypatch.setenv("SYNTERA_LOG_LEVEL", "DEBUG")
    settings = load_settings()
    assert (settings.drain_seconds, settings.log_level) == (2.5, "DEBUG")


def test_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYNTERA_TENANT_ID")
    with pytest.raises(ConfigurationError, match="SYNTERA_TENANT_ID: Field required"):
        load_settings()


def test_unknown_variable_is_refused_with_the_likely_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTERA_DRAIN_SECOND", "5")
    with pytest.raises(ConfigurationError, match="SYNTERA_DRAIN_SECOND is no setting, perhaps SYNTERA_DRAIN_SECONDS"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SYNTERA_TENANT_ID", "acme"),
        ("SYNTERA_PUBLIC_PORT", "http"),
        ("SYNTERA_DRAIN_SECONDS", "-1"),
        ("SYNTERA_LOG_LEVEL", "LOUD"),
        ("SYNTERA_POSTGRESQL_CONNECTIONS", "0"),
    ],
)
def test_value_that_does_not_fit_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"^{name}: "):
        load_settings()


def test_everything_that_is_wrong_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYNTERA_TENANT")
    monkeypatch.setenv("SYNTERA_QQQ", "1")
    with pytest.raises(ConfigurationError, match="SYNTERA_QQQ is no setting; SYNTERA_TENANT: "):
        load_settings()


def test_other_variables_are_none_of_our_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("TENANT", "other")
    assert load_settings().tenant == "acme"
