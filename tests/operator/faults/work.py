"""Work for operators, and proofs of how they did it."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count, pairwise

from tests.support.apiserver import unique_name
from tests.support.operator_process import OperatorProcess, Write
from tests.support.operator_site import Site

DEFAULT_LEASE = {"SYNTERA_LEASE_SECONDS": "15", "SYNTERA_LEASE_RENEW_SECONDS": "10", "SYNTERA_LEASE_RETRY_SECONDS": "2"}
CANNOT_GO_ON = 70


def make_work(site: Site, operator: OperatorProcess, *, agents: int = 12) -> list[str]:
    """A Tenant with Agents that are published; the Agents' paths."""
    name = unique_name("acme")
    operator.wait_until(site.is_provided(site.make_tenant(name)))
    paths = make_agents(site, name, agents)
    for path in paths:
        operator.wait_until(lambda path=path: site.is_current(path))  # type: ignore[misc]
    return paths


def assert_one_after_another(writes: list[Write]) -> None:
    """Each operator began to write after the one before had written its last."""
    by_user: dict[str, list[Write]] = {}
    for write in writes:
        by_user.setdefault(write.user, []).append(write)
    spans = sorted((found[0].began, max(write.ended for write in found), user) for user, found in by_user.items())
    for (_, _, earlier), (began, _, later) in pairwise(spans):
        late = [write for write in by_user[earlier] if write.ended >= began]
        assert not late, f"{later} wrote from {began}, before {earlier} had ended: {late}"


def assert_nothing_lost_or_doubled(site: Site, operator: OperatorProcess, agents: list[str]) -> None:
    """Everything is as it was last said to be, and was published at most as often as that changed."""
    for path in agents:
        operator.wait_until(lambda path=path: site.is_current(path))  # type: ignore[misc]
    operator.wait_until(is_quiet(site, operator.name))
    for path in agents:
        agent = site.get(path) or {}
        assert agent["status"]["revision"] <= agent["metadata"]["generation"]


class Editor(threading.Thread):
    """Somebody who edits Agents all the time, one after the other, so that an operator never rests."""

    def __init__(self, site: Site, agents: list[str]) -> None:
        super().__init__(name="editor", daemon=True)
        self._site = site
        self._agents = agents
        self._is_over = threading.Event()
        self.edits = 0

    def run(self) -> None:
        """Edit until stopped; while the API server is away, nothing is edited."""
        for number in count():
            if self._is_over.wait(0.02):
                return
            path = self._agents[number % len(self._agents)]
            with contextlib.suppress(Exception):  # whatever the client says of an API server that is away
                self._site.merge(path, {"spec": {"instructions": f"Version {number}."}})
                self.edits += 1

    def stop(self) -> None:
        """No more edits."""
        self._is_over.set()
        self.join()


@contextmanager
def editing(site: Site, agents: list[str]) -> Iterator[Editor]:
    """Have Agents edited for the length of the block."""
    editor = Editor(site, agents)
    editor.start()
    try:
        yield editor
    finally:
        editor.stop()


def make_agents(site: Site, namespace: str, number: int) -> list[str]:
    """Several Agents; their paths."""
    return [site.make_agent(namespace, f"agent-{index}", instructions="Be kind.") for index in range(number)]


def is_quiet(site: Site, *users: str, seconds: float = 2) -> Callable[[], bool]:
    """Whether the operators of these names have written nothing for some seconds."""
    seen = (-1, time.monotonic())

    def check() -> bool:
        nonlocal seen
        written = len(site.audit.writes_of(*users))
        if written != seen[0]:
            seen = (written, time.monotonic())
        return time.monotonic() - seen[1] >= seconds

    return check
