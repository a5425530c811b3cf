"""`python -m tests.runtime.fake_process`: a runtime process as it is, on stores in memory and a model that speaks slowly.

Its first line of output is a key; its log follows. The model says one word a twentieth of a second, as many as the user's
message says, so that tests decide how long an answer takes.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from syntera_crds.contract.agent_config import ModelCandidate
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.config import load_settings
from syntera_runtime.logs import configure_logging
from syntera_runtime.main import serve, stop_on_signals
from syntera_runtime.models.exchange import ModelEvent, ModelFinished, ModelRequest, ModelStarted, TextDelta
from syntera_runtime.tracing import tracing
from tests.runtime.builders import make_services, put_key


class FakeSlowModels:
    """Says as many words as it is asked for."""

    async def stream(
        self, candidates: Sequence[ModelCandidate], request: ModelRequest
    ) -> AsyncGenerator[ModelEvent, None]:
        """See `ChatModels`."""
        yield ModelStarted(candidates[0].endpoint, candidates[0].model)
        for _ in range(int(request.messages[-1].content.split()[-1])):
            yield TextDelta("word ")
            await asyncio.sleep(0.05)
        yield ModelFinished("stop")


async def run() -> None:
    """Serve until a signal comes."""
    settings = load_settings()
    configure_logging(settings.log_level)
    store = MemoryStore()
    print(put_key(store, settings.owner), flush=True)
    async with tracing({"service.name": "syntera-runtime"}) as tracer:
        services = make_services(store, tenant_id=settings.owner, models=FakeSlowModels(), tracer=tracer)
        await serve(services, settings, stop=stop_on_signals())


if __name__ == "__main__":
    asyncio.run(run())
