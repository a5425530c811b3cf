"""What the statuses say is so at the moment in which they say it, for `kubectl wait` and for tools that know kstatus.

Nothing smaller would do: the claim is about pods that really serve.
"""

import time
from collections.abc import Callable
from typing import Any

import pytest

from syntera_dev.demo.installation import Installation
from tests.support.e2e import STAND_IN, TenantUnderTest, complete, run_syntera
from tests.support.kstatus import Kstatus, compute

pytestmark = pytest.mark.cluster


def until_current(read: Callable[[], dict[str, Any]], *, seconds: float = 60) -> list[Kstatus]:
    """Every state that was seen, the last of which is Current."""
    seen: list[Kstatus] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        seen.append(compute(read()))
        if seen[-1] is Kstatus.CURRENT:
            return seen
    pytest.fail(f"not current after {seconds:.0f} s; last seen: {seen[-1]}")


def test_agent_serves_an_edit_once_it_is_current(new_tenant: Callable[..., TenantUnderTest]) -> None:
    tenant = new_tenant("honest")
    tenant.apply_agent("guide")
    tenant.wait("agent/guide")
    with tenant.client() as client:
        for number in range(5):
            tenant.apply_agent("guide", instructions=f"You are guide number {number}.")
            seen = until_current(lambda: tenant.agent("guide"))
            assert f"guide number {number}" in complete(client, "guide", "Who are you?")
            assert Kstatus.FAILED not in seen


def test_tenant_serves_once_it_is_current(installation: Installation) -> None:
    tenant = TenantUnderTest(
        installation.kubectl,
        "fresh",
        "syntera-fresh",
        {"models": [STAND_IN]},
    )
    try:
        tenant.apply()
        seen = until_current(lambda: tenant.kubectl.get("tenant", tenant.name), seconds=90)
        assert seen[0] is Kstatus.IN_PROGRESS
        assert Kstatus.FAILED not in seen
        with tenant.client() as client:
            assert client.get("/v1/agents").status_code == 200
    finally:
        tenant.erase()


def test_command_line_finds_the_agent_and_prints_its_answer(
    installation: Installation, new_tenant: Callable[..., TenantUnderTest]
) -> None:
    tenant = new_tenant("terminal")
    tenant.apply_agent("guide")
    tenant.wait("agent/guide")

    finished = run_syntera(installation.kubectl, "chat", "guide", "-n", tenant.namespace, "--message", "Hello there")

    assert finished.code == 0, finished.stderr
    assert "I am guide of Terminal" in finished.stdout
    assert "Hello there" in finished.stdout
