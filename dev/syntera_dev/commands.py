"""Calling other programs: arguments as a list, always a deadline, an error that shows what the program said."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from syntera_dev.errors import CommandFailed, MissingTool

# Package managers put administrators' tools here; a plain user's or a cron job's PATH often lacks them.
_ADMINISTRATOR_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def run(
    arguments: Sequence[str | Path],
    *,
    timeout_seconds: float = 60,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    stdin: str = "",
) -> str:
    """Run a program to its end and return its standard output. `environment` is added to the caller's.

    Raises:
        CommandFailed: the program returned an error or ran past the deadline (it is then ended).
        MissingTool: there is no such program.
    """
    words = [str(argument) for argument in arguments]
    try:
        finished = subprocess.run(
            words,
            env=with_administrator_path({**os.environ, **(environment or {})}),
            cwd=folder,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
    except FileNotFoundError as exc:
        raise MissingTool(f"{words[0]!r} is not installed") from exc
    except subprocess.TimeoutExpired as exc:
        raise CommandFailed(words, f"did not end within {timeout_seconds:.0f} s", _text(exc.stderr)) from exc
    if finished.returncode != 0:
        raise CommandFailed(words, f"ended with code {finished.returncode}", finished.stderr or finished.stdout)
    return finished.stdout


def succeeds(
    arguments: Sequence[str | Path], *, timeout_seconds: float = 60, environment: Mapping[str, str] | None = None
) -> bool:
    """Tell whether a program ends well, where its failure is an answer and not an error."""
    try:
        run(arguments, timeout_seconds=timeout_seconds, environment=environment)
    except CommandFailed:
        return False
    return True


def with_administrator_path(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the administrators' folders at the end of its PATH."""
    folders = environment.get("PATH", os.defpath).split(os.pathsep)
    missing = [folder for folder in _ADMINISTRATOR_FOLDERS if folder not in folders]
    return {**environment, "PATH": os.pathsep.join([*folders, *missing])}


def _text(output: str | bytes | None) -> str:
    if isinstance(output, bytes):
        return output.decode(errors="replace")
    return output or ""
