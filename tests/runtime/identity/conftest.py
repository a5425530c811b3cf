"""What tells who asks, on stores in memory."""

import pytest

from tests.runtime.fakes import FakeFailingStore
from tests.runtime.identity.clock import Clock


@pytest.fixture
def clock() -> Clock:
    """A monotonic clock."""
    return Clock()


@pytest.fixture
def store() -> FakeFailingStore:
    """All stores; it can be told to be away."""
    return FakeFailingStore()
