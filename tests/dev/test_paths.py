import io
import sys
import threading
import time
from pathlib import Path

import pytest

from syntera_dev.paths import cache_folder, exclusive, new_folder, state_folder, write_atomically


def test_folders_can_be_chosen_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SYNTERA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SYNTERA_STATE", str(tmp_path / "state"))
    assert (cache_folder(), state_folder()) == (tmp_path / "cache", tmp_path / "state")


def test_folders_are_below_home_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SYNTERA_CACHE", "")
    monkeypatch.delenv("SYNTERA_STATE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert (cache_folder(), state_folder()) == (tmp_path / ".cache/syntera", tmp_path / ".local/state/syntera")


def test_write_atomically_replaces_and_sets_the_mode(tmp_path: Path) -> None:
    file = tmp_path / "new" / "key"
    write_atomically(file, "old")
    write_atomically(file, "secret", mode=0o600)
    assert file.read_text() == "secret"
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(file.parent.iterdir()) == [file]


def test_new_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "result"
    with new_folder(target) as unfinished:
        (unfinished / "file").write_text("x")
        assert not target.exists()
    assert (target / "file").read_text() == "x"


def test_new_folder_disappears_when_the_work_fails(tmp_path: Path) -> None:
    def fail() -> None:
        with new_folder(tmp_path / "result") as unfinished:
            (unfinished / "file").write_text("x")
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011  # raised right above, without a message
        fail()
    assert list(tmp_path.iterdir()) == []


def test_exclusive_lets_the_second_wait_and_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    # Not pytest's capture: reading that empties it, together with what another thread writes in this very moment.
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)

    def second() -> None:
        with exclusive(tmp_path / "lock", "working"):
            events.append("second")

    with exclusive(tmp_path / "lock", "working"):
        thread = threading.Thread(target=second)
        thread.start()
        while "waiting for another run that is working" not in said.getvalue():
            assert thread.is_alive()
            time.sleep(0.01)
        events.append("first")
    thread.join(timeout=10)
    assert events == ["first", "second"]
