"""What all commands share at a terminal: how failures are told, where a key comes from, how an API at a URL is reached."""

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path

import typer
from pydantic import BaseModel
from rich.console import Console, RenderableType
from rich.text import Text

from syntera_crds.contract.api_key import ApiKey

from .client import TenantClient
from .connections import FixedUrl
from .errors import CliError, ClusterUnusable

WIDTH = 160
"""Of a table that no terminal bounds."""


class Output(StrEnum):
    """For whom a report is written."""

    TEXT = "text"
    JSON = "json"


def show(answer: BaseModel, parts: Iterable[RenderableType], output: Output) -> None:
    """Print an answer, for scripts as the API gave it."""
    if output is Output.JSON:
        print(answer.model_dump_json(by_alias=True, indent=2))
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    for part in parts:
        console.print(part)


@contextlib.contextmanager
def told_failures(*, exit_code: int | None = None) -> Iterator[None]:
    """Turn failures of the block into a sentence on standard error and an exit code."""
    try:
        yield
    except CliError as exc:
        complain(str(exc), style="red")
        raise typer.Exit(exc.exit_code if exit_code is None else exit_code) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except BrokenPipeError:
        raise typer.Exit(1) from None


def complain(text: str, *, style: str) -> None:
    """Say something on standard error."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(Text(text, style=style))


def given_key(file: Path | None) -> str | None:
    """The key that the user named, None where that is left to us.

    Raises:
        ClusterUnusable: There is none where the user says, or it is mistyped.
    """
    try:
        text = os.environ.get("SYNTERA_API_KEY") if file is None else file.read_text()
    except (OSError, UnicodeDecodeError) as exc:
        raise ClusterUnusable(f"The file {str(file)!r} cannot be read: {exc}.") from None
    if file is not None and not (text or "").strip():
        raise ClusterUnusable(f"The file {str(file)!r} holds no API key.")
    return checked_key(text.strip()) if text else None


def checked_key(text: str) -> str:
    """The key.

    Raises:
        ClusterUnusable: It is mistyped.
    """
    if ApiKey.parse(text) is None:
        raise ClusterUnusable("The API key is mistyped; a whole one looks like 'syn_sk_' and 46 letters and digits.")
    return text


def client_at(url: str, key: str | None) -> TenantClient:
    """The tenant's API at a URL.

    Raises:
        ClusterUnusable: There is no key for it.
        RuntimeUnreachable: It is no HTTP URL.
    """
    if key is None:
        raise ClusterUnusable("--url needs a key: name a file with --api-key-file, or set SYNTERA_API_KEY.")
    return TenantClient(FixedUrl(url), key)
