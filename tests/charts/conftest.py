"""The chart's renderings, and an API server to install them on."""

import pytest

from syntera_dev.build import ensure_binary

from .chart import Chart


@pytest.fixture(scope="session")
def chart() -> Chart:
    """The chart of this checkout. The first run ever compiles helm, which takes a minute or two."""
    return Chart(ensure_binary("helm"))
