"""Amounts as the API server spells them. `tests/operator/reconcile/test_on_api_server.py` compares with a real one."""

import pytest

from syntera_operator.desired.quantities import canonical_quantity, larger_quantity, smaller_quantity

SPELLINGS = {
    "0": "0",
    "1": "1",
    "10": "10",
    "1000": "1k",
    "1500": "1500",
    "0.5": "500m",
    "1000m": "1",
    "1100m": "1100m",
    "0.5Gi": "512Mi",
    "1024Mi": "1Gi",
    "1.5Gi": "1536Mi",
    "1Ki": "1Ki",
    "0.5Ki": "512",
    "1000Ki": "1000Ki",
    "2000000": "2M",
    "5E": "5E",
    "0.001m": "1m",
    "1.5m": "2m",
}


@pytest.mark.parametrize(("written", "stored"), SPELLINGS.items())
def test_canonical_quantity(written: str, stored: str) -> None:
    assert canonical_quantity(written) == stored


def test_canonical_quantity_of_a_number() -> None:
    assert canonical_quantity(2000) == "2k"


def test_canonical_quantity_when_it_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="not an amount"):
        canonical_quantity("much")


def test_quantities_are_compared_by_value() -> None:
    assert larger_quantity("1Gi", "1500Mi") == "1500Mi"
    assert smaller_quantity("100m", 1) == "100m"
