"""`python -m tests.runtime.pod_process`: a runtime process on the tenant's real stores and a model that speaks slowly."""

import asyncio

from syntera_runtime.config import load_settings
from syntera_runtime.logs import configure_logging
from syntera_runtime.main import serve, stop_on_signals
from tests.runtime.fake_process import FakeSlowModels
from tests.runtime.pods import open_pod


async def run() -> None:
    """Serve until a signal comes."""
    settings = load_settings()
    configure_logging(settings.log_level)
    async with open_pod(
        settings.owner, settings.stores_dir, models=FakeSlowModels(), lease_seconds=settings.lease_seconds
    ) as pod:
        await serve(pod.services, settings, stop=stop_on_signals())


if __name__ == "__main__":
    asyncio.run(run())
