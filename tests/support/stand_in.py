"""A hand on the stand-in model server: what tests tell it (`/control`) and what it received."""

import contextlib
from collections.abc import Iterator

import httpx

from syntera_dev.models.app import create_app
from syntera_dev.models.control import Fault, Received, ScriptedAnswer
from syntera_dev.models.settings import Behaviour
from tests.support.serving import serving


class StandIn:
    """One running stand-in; also one in a cluster, through a forwarded port."""

    def __init__(self, url: str) -> None:
        self.url = url
        """Where it listens, without a path."""
        self.base_url = f"{url}/v1"
        """What a model endpoint's `baseURL` is set to."""
        self._client = httpx.Client(base_url=url, trust_env=False, timeout=30)

    def behave(self, behaviour: Behaviour) -> None:
        """Change what is set in `behaviour`; the rest stays."""
        changes = behaviour.model_dump(by_alias=True, exclude_unset=True)
        self._client.patch("/control", json=changes).raise_for_status()

    def fail(self, *faults: Fault) -> None:
        """Let the next requests fail."""
        body = [fault.model_dump(by_alias=True) for fault in faults]
        self._client.post("/control/faults", json=body).raise_for_status()

    def say(self, *texts: str, model: str | None = None) -> None:
        """Answer the next requests with these texts."""
        body = [ScriptedAnswer(text=text, model=model).model_dump(by_alias=True) for text in texts]
        self._client.post("/control/answers", json=body).raise_for_status()

    def journal(self) -> list[Received]:
        """What was received, oldest first."""
        return [Received.model_validate(entry) for entry in self._client.get("/control/journal").json()]

    def reset(self) -> None:
        """Forget everything."""
        self._client.delete("/control").raise_for_status()

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()


@contextlib.contextmanager
def running_stand_in() -> Iterator[StandIn]:
    """A stand-in of the test's own."""
    with serving(create_app()) as url:
        stand_in = StandIn(url)
        try:
            yield stand_in
        finally:
            stand_in.close()
