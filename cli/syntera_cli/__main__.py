"""The commands. What goes wrong is one sentence on standard error and exit code 1; wrong usage is 2, Ctrl-C 130."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from syntera_crds import __version__
from syntera_crds.contract.api_key import ApiKey

from .chat import Chat
from .client import Piece, TenantClient
from .connections import FixedUrl, ForwardedPort
from .errors import AgentUnavailable, CliError, ClusterUnusable, RuntimeUnreachable

app = typer.Typer(
    name="syntera",
    help="Talk to the agents of Syntera, conversational AI on Kubernetes.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)


def main() -> None:
    """Run the command line. Being told to end (SIGTERM, SIGHUP) ends helpers such as kubectl, too."""
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):  # Windows lacks one
            signal.signal(getattr(signal, name), _leave)
    app()


@app.command()
def version() -> None:
    """Print the version."""
    print(f"syntera {__version__}")


@app.command()
def chat(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="Name of the agent.", show_default=False)],
    *,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Namespace of the agent.", show_default=False)
    ] = None,
    tenant: Annotated[
        str | None, typer.Option(help="Tenant of the agent, instead of its namespace.", show_default=False)
    ] = None,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig.", show_default=False)] = None,
    url: Annotated[
        str | None, typer.Option(help="The tenant's API; Kubernetes is not asked then.", show_default=False)
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(help="File with an API key. Default: the tenant's own, read from its Secret.", show_default=False),
    ] = None,
    message: Annotated[
        str | None,
        typer.Option("--message", "-m", help="Ask this and print the answer alone.", show_default=False),
    ] = None,
) -> None:
    """Chat with an agent.

    With [bold]--message[/], or when something is piped in, only the answer is printed, as Markdown.
    The key is taken from --api-key-file, the variable SYNTERA_API_KEY, or the tenant's Secret.
    """
    with _told_failures():
        key = _given_key(api_key_file)
        content = _given_question(message)
        with _open(agent, namespace=namespace, tenant=tenant, context=context, url=url, key=key) as client:
            if content is None:
                Chat(client, client.agent(agent), Console(highlight=False)).run()
            else:
                _print_answer(client, agent, content)


@contextlib.contextmanager
def _open(
    agent: str, *, namespace: str | None, tenant: str | None, context: str | None, url: str | None, key: str | None
) -> Iterator[TenantClient]:
    """The tenant's API, at a URL or through the cluster."""
    if url is not None:
        if key is None:
            raise ClusterUnusable("--url needs a key: name a file with --api-key-file, or set SYNTERA_API_KEY.")
        with TenantClient(FixedUrl(url), key) as client:
            yield client
        return
    from .cluster import Cluster  # noqa: PLC0415  # the official client takes longer to import than all the rest

    cluster = Cluster(context)
    namespace = namespace or cluster.find_namespace(agent, tenant=tenant)
    state = cluster.agent_state(namespace, agent)
    if not state.is_published:
        raise AgentUnavailable(f"The agent {agent!r} is not ready: {state.trouble}")
    key = key or _checked_key(cluster.admin_key(namespace))
    if state.trouble:
        _complain(f"The agent {agent!r} is not ready: {state.trouble} What was published last answers.", style="yellow")
    with ForwardedPort(namespace, context=context) as connection:
        try:
            with TenantClient(connection, key) as client:
                yield client
        except RuntimeUnreachable as exc:
            raise (
                AgentUnavailable(f"The agent {agent!r} is not ready: {state.trouble}") if state.trouble else exc
            ) from None


def _print_answer(client: TenantClient, agent: str, content: str) -> None:
    conversation = client.start(client.agent(agent).name)
    has_spoken = False
    try:
        for told in client.send(conversation.id, content):
            if isinstance(told, Piece):
                print(told.text, end="", flush=True)
                has_spoken = True
    finally:
        if has_spoken:
            print()


def _given_question(message: str | None) -> str | None:
    """What the user asks once, None for a chat."""
    try:
        content = message if message is not None or sys.stdin.isatty() else sys.stdin.read()
        (content or "").encode()  # of an argument, Python takes bytes that are no text as halves of surrogate pairs
    except UnicodeError:
        raise typer.BadParameter("the question is not UTF-8; convert it first", param_hint="--message") from None
    if content is not None and not content.strip():
        raise typer.BadParameter("there is nothing to ask", param_hint="--message")
    return content


def _given_key(file: Path | None) -> str | None:
    """The key that the user named, None where that is left to us."""
    try:
        text = os.environ.get("SYNTERA_API_KEY") if file is None else file.read_text()
    except (OSError, UnicodeDecodeError) as exc:
        raise ClusterUnusable(f"The file {str(file)!r} cannot be read: {exc}.") from None
    if file is not None and not (text or "").strip():
        raise ClusterUnusable(f"The file {str(file)!r} holds no API key.")
    return _checked_key(text.strip()) if text else None


def _checked_key(text: str) -> str:
    if ApiKey.parse(text) is None:
        raise ClusterUnusable("The API key is mistyped; a whole one looks like 'syn_sk_' and 46 letters and digits.")
    return text


@contextlib.contextmanager
def _told_failures() -> Iterator[None]:
    try:
        yield
    except CliError as exc:
        _complain(str(exc), style="red")
        raise typer.Exit(exc.exit_code) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except BrokenPipeError:
        raise typer.Exit(1) from None


def _complain(text: str, *, style: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(Text(text, style=style))


def _leave(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
