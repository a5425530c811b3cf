from pathlib import Path

import pytest

from syntera_dev import packages
from syntera_dev.errors import MissingTool
from syntera_dev.packages import Requirement, ensure_packages


def test_requirement_is_met_by_any_program_or_file(tmp_path: Path) -> None:
    assert Requirement("shell", ("no-such-shell", "sh")).is_met()
    assert Requirement("folder", ("/no/such/folder", str(tmp_path))).is_met()
    assert not Requirement("nothing", ("no-such-shell", "/no/such/folder")).is_met()


def test_nothing_is_installed_when_all_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "run", lambda *_, **__: pytest.fail("nothing may be run"))
    ensure_packages([Requirement("shell", ("sh",))])


def test_missing_packages_are_named_when_they_cannot_be_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SYNTERA_CACHE", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(MissingTool, match=r"missing: one two; install them, or run this as root on Debian"):
        ensure_packages(
            [Requirement("one", ("no-such-1",)), Requirement("shell", ("sh",)), Requirement("two", ("no-such-2",))]
        )
