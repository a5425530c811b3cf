import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from syntera_dev.cluster.components import Component, ComponentRunner, answers, find_program, free_ports, stop_all
from syntera_dev.errors import ComponentFailed, MissingTool


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[ComponentRunner]:
    runner = ComponentRunner(tmp_path)
    yield runner
    stop_all(runner)


def make_component(
    name: str = "sleeper", script: str = "sleep 600", *, healthy: bool = True, deadline_seconds: float = 30
) -> Component:
    return Component(name, ("sh", "-c", script), lambda: healthy, deadline_seconds=deadline_seconds)


def test_start_is_idempotent(runner: ComponentRunner, tmp_path: Path) -> None:
    component = make_component(script="echo started; exec sleep 600")
    runner.start(component)
    while not runner.log("sleeper").read_text():
        assert runner.is_running("sleeper")
    ComponentRunner(tmp_path).start(component)
    assert runner.log("sleeper").read_text() == "started\n"


def test_wait_returns_when_the_component_is_healthy(runner: ComponentRunner) -> None:
    answers_in_turn = iter([False, True])
    component = Component("sleeper", ("sleep", "600"), lambda: next(answers_in_turn))
    runner.start(component)
    runner.wait(component)
    assert next(answers_in_turn, None) is None


def test_wait_shows_the_log_when_the_component_ends(runner: ComponentRunner) -> None:
    component = make_component(script="echo the reason; sleep 0.1; exit 1", healthy=False)
    runner.start(component)
    with pytest.raises(ComponentFailed, match=r"(?s)sleeper ended; its log .*the reason"):
        runner.wait(component)


def test_wait_gives_up_when_the_component_does_not_become_healthy(runner: ComponentRunner) -> None:
    component = make_component(healthy=False, deadline_seconds=0.3)
    runner.start(component)
    with pytest.raises(ComponentFailed, match="was not healthy within"):
        runner.wait(component)


def test_start_of_a_program_that_is_not_there(runner: ComponentRunner) -> None:
    with pytest.raises(ComponentFailed, match="ghost could not be started"):
        runner.start(Component("ghost", ("/no/such/program",), lambda: True))


def test_stop_all_ends_everything_in_order(runner: ComponentRunner, tmp_path: Path) -> None:
    order = tmp_path / "order"
    for name in ("a", "b", "c"):
        script = f"trap 'echo {name} >> {order}; exit' TERM; echo ready; while :; do sleep 0.01; done"
        runner.start(make_component(name, script))
        while "ready" not in runner.log(name).read_text():
            assert runner.is_running(name)
    stop_all(runner, first=["c", "absent"])
    assert order.read_text().split() == ["c", "a", "b"]
    assert runner.recorded() == []


def test_components_run_inside_a_wrapper_and_are_recorded_themselves(tmp_path: Path) -> None:
    """As with `nsenter`: the wrapper stays outside, and its child is the component."""
    runner = ComponentRunner(tmp_path, enter=("sh", "-c", '"$@"; true', "wrapper"))
    runner.start(Component("sleeper", ("sleep", "600"), lambda: True))
    assert runner.is_running("sleeper")
    runner.stop("sleeper")
    assert not runner.is_running("sleeper")


def test_free_ports_are_different_and_can_be_bound() -> None:
    ports = free_ports(3)
    assert len(set(ports)) == 3
    for port in ports:
        with socket.socket() as each:
            each.bind(("127.0.0.1", port))


def test_free_ports_are_never_those_that_outgoing_connections_take() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(port < lowest for port in free_ports(200))


def test_answers_is_false_when_nobody_listens() -> None:
    assert not answers(f"http://127.0.0.1:{free_ports(1)[0]}/healthz")


def test_find_program_names_what_is_missing() -> None:
    assert find_program("sh").endswith("/sh")
    with pytest.raises(MissingTool, match="'no-such-program'"):
        find_program("no-such-program")
