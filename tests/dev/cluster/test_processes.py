import dataclasses
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from syntera_dev.cluster.processes import ProcessRecord, only_child, plain_environment, spawn


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[int]:
    pid = spawn(["sleep", "600"], log=tmp_path / "log", environment=plain_environment())
    yield pid
    record = ProcessRecord.of(pid)
    if record is not None:
        record.end(grace_seconds=1)


def record_of(pid: int) -> ProcessRecord:
    record = ProcessRecord.of(pid)
    assert record is not None
    return record


def test_record_survives_its_file(tmp_path: Path, sleeper: int) -> None:
    record = record_of(sleeper)
    record.save(tmp_path / "pid.json")
    assert ProcessRecord.load(tmp_path / "pid.json") == record


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"pid": 1}', "not json"])
def test_load_of_something_else_is_no_record(tmp_path: Path, content: str) -> None:
    (tmp_path / "pid.json").write_text(content)
    assert ProcessRecord.load(tmp_path / "pid.json") is None


def test_load_of_no_file_is_no_record(tmp_path: Path) -> None:
    assert ProcessRecord.load(tmp_path / "pid.json") is None


def test_end_ends_the_recorded_process(sleeper: int) -> None:
    record = record_of(sleeper)
    assert record.is_running()
    record.end()
    assert not record.is_running()
    with pytest.raises(ProcessLookupError):
        os.kill(sleeper, 0)


def test_end_makes_a_process_end_that_ignores_the_signal(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
    record = record_of(spawn([sys.executable, "-c", code], log=log, environment=plain_environment()))
    while "ready" not in log.read_text():
        assert record.is_running()
    record.end(grace_seconds=0.1)
    assert not record.is_running()


@pytest.mark.parametrize("difference", [{"start_ticks": 1}, {"boot_id": "another"}])
def test_end_spares_another_process_with_the_same_pid(sleeper: int, difference: dict[str, int | str]) -> None:
    former = dataclasses.replace(record_of(sleeper), **difference)  # type: ignore[arg-type]  # one of two fields, each of its type
    assert not former.is_running()
    former.end()
    assert record_of(sleeper).is_running()


def test_end_of_a_process_that_has_ended_does_nothing(sleeper: int) -> None:
    record = record_of(sleeper)
    record.end()
    record.end()


def test_a_process_that_nobody_has_reaped_does_not_run(sleeper: int) -> None:
    record = record_of(sleeper)
    os.kill(sleeper, signal.SIGKILL)
    os.waitid(os.P_PID, sleeper, os.WEXITED | os.WNOWAIT)
    assert not record.is_running()
    record.end()  # reaps it


def test_start_time_is_read_past_a_name_with_spaces_and_parentheses(tmp_path: Path) -> None:
    program = tmp_path / "a ) b ("
    program.symlink_to("/bin/sleep")
    record = record_of(spawn([str(program), "600"], log=tmp_path / "log", environment=plain_environment()))
    assert record.is_running()
    record.end()


def test_spawn_appends_all_output_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "program.log"
    for word in ("one", "two"):
        os.waitpid(spawn(["sh", "-c", f"echo {word}; echo {word}! >&2"], log=log, environment=plain_environment()), 0)
    assert log.read_text() == "one\none!\ntwo\ntwo!\n"


def test_spawned_programs_see_no_proxy_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    assert "HTTPS_PROXY" not in plain_environment()


def test_only_child_finds_the_program_that_a_wrapper_starts(tmp_path: Path) -> None:
    parent = spawn(["sh", "-c", "sleep 600; true"], log=tmp_path / "log", environment=plain_environment())
    child = record_of(only_child(parent))
    assert f"PPid:\t{parent}\n" in Path(f"/proc/{child.pid}/status").read_text()
    child.end()
    os.waitpid(parent, 0)


def test_only_child_of_a_program_that_starts_none(sleeper: int) -> None:
    with pytest.raises(ProcessLookupError, match="started no program"):
        only_child(sleeper, timeout_seconds=0.05)
