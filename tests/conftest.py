"""What every test may use. Fixtures of one area live in that area's own folder; servers are started by `tests.support`."""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import structlog

from tests.support.golden import Golden

pytest_plugins = [
    "tests.support.apiserver",
    "tests.support.postgresql",
    "tests.support.redis_server",
    "tests.support.s3_server",
]


hypothesis.settings.register_profile(
    "tests",
    # How long an example takes says more of the machine than of the code; `timeout` bounds the whole test.
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    # The same examples each time: what fails was broken by the change. With the variable set, new ones are looked for.
    derandomize="SYNTERA_FUZZ_RANDOM" not in os.environ,
)
hypothesis.settings.load_profile("tests")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-data",
        action="store_true",
        help="rewrite the expected outputs in tests/data with what the code makes now; review them as a diff",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let long files begin first: at the end, one would keep all other processes waiting."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """How a test sets up logging is forgotten after it: what its folder has set up for all tests goes on."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compares text with a file below tests/data, or rewrites that file with `--update-data`."""
    return Golden(Path(__file__).parent / "data", update=request.config.getoption("--update-data"))
