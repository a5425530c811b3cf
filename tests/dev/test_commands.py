import pytest

from syntera_dev.commands import run, succeeds, with_administrator_path
from syntera_dev.errors import CommandFailed, MissingTool


def test_run_returns_what_the_program_prints() -> None:
    assert run(["sh", "-c", "echo $WHO; cat"], environment={"WHO": "me"}, stdin="and you") == "me\nand you"


def test_run_shows_the_programs_last_words_when_it_fails() -> None:
    with pytest.raises(CommandFailed, match=r"(?s)ended with code 3.*no such luck"):
        run(["sh", "-c", "echo no such luck >&2; exit 3"])


def test_run_ends_a_program_that_takes_too_long() -> None:
    with pytest.raises(CommandFailed, match="did not end within 0 s"):
        run(["sleep", "60"], timeout_seconds=0.05)


def test_run_names_a_program_that_is_not_installed() -> None:
    with pytest.raises(MissingTool, match="'no-such-program' is not installed"):
        run(["no-such-program"])


@pytest.mark.parametrize(("program", "expected"), [("true", True), ("false", False)])
def test_succeeds_tells_how_a_program_ended(program: str, *, expected: bool) -> None:
    assert succeeds([program]) is expected


def test_administrator_folders_come_last_and_once() -> None:
    path = with_administrator_path({"PATH": "/usr/sbin:/usr/bin"})["PATH"]
    assert path == "/usr/sbin:/usr/bin:/usr/local/sbin:/sbin"
