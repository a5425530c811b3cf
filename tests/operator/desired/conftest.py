"""What the builders' tests share."""

import pytest

from syntera_operator.desired.metadata import Scope


@pytest.fixture
def scope() -> Scope:
    """Whose children are built."""
    return Scope(tenant="acme", namespace="acme-prod")
