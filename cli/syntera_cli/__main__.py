"""The commands. What goes wrong is one sentence on standard error and exit code 1; wrong usage is 2, Ctrl-C 130.

`doctor` tells what goes wrong in its report, and has exit codes of its own.
"""

import contextlib
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from syntera_crds import __version__

from .chat import Chat
from .client import Piece, TenantClient
from .connections import FixedUrl, ForwardedPort
from .errors import AgentUnavailable, RuntimeUnreachable
from .keys import app as keys_app
from .knowledge import app as knowledge_app
from .terminal import Output, checked_key, client_at, complain, given_key, told_failures
from .usage import usage

app = typer.Typer(
    name="syntera",
    help="Talk to the agents of Syntera, conversational AI on Kubernetes.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)
app.add_typer(keys_app)
app.add_typer(knowledge_app)
app.command()(usage)


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
    with told_failures():
        key = given_key(api_key_file)
        content = _given_question(message)
        with _open(agent, namespace=namespace, tenant=tenant, context=context, url=url, key=key) as client:
            if content is None:
                Chat(client, client.agent(agent), Console(highlight=False)).run()
            else:
                _print_answer(client, agent, content)


@app.command()
def doctor(
    tenant: Annotated[
        str | None, typer.Argument(metavar="TENANT", help="One tenant. Default: all.", show_default=False)
    ] = None,
    *,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig.", show_default=False)] = None,
    operator: Annotated[
        str | None,
        typer.Option(
            metavar="NAMESPACE/NAME",
            help="The operator's Deployment. Default: looked for in all namespaces.",
            show_default=False,
        ),
    ] = None,
    agent: Annotated[
        str | None, typer.Option(help="Agent to ask. Default: the first that is ready.", show_default=False)
    ] = None,
    question: Annotated[
        bool,
        typer.Option("--question/--no-question", help="Ask an agent one question, which costs a small model call."),
    ] = True,
    url: Annotated[
        str | None, typer.Option(help="The tenant's API. Default: a forwarded port.", show_default=False)
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(help="File with an API key. Default: the tenant's own, read from its Secret.", show_default=False),
    ] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="For people or for scripts.")] = Output.TEXT,
) -> None:
    """Say in plain words what is wrong, and what to do.

    Walks from the cluster over operator, tenant, stores, pods and agents to one real question. It changes nothing.
    Exit code: 0 all is well or works with warnings, 1 a problem was found, 2 wrong usage or the cluster cannot be asked.
    """
    if operator is not None and not re.fullmatch(r"[^/]+/[^/]+", operator):
        raise typer.BadParameter("write it as NAMESPACE/NAME", param_hint="--operator")
    for name, value in (("--agent", agent), ("--url", url), ("--api-key-file", api_key_file)):
        if value is not None and tenant is None:
            raise typer.BadParameter("belongs to one tenant; name it", param_hint=name)
    with told_failures(exit_code=2):  # 1 means that a problem was found
        key = given_key(api_key_file) if tenant is not None else None
        if url is not None:
            FixedUrl(url)
        from .doctor.command import run  # noqa: PLC0415  # the official client takes longer to import than all the rest
        from .doctor.question import Way  # noqa: PLC0415
        from .doctor.walk import Wish  # noqa: PLC0415

        wish = Wish(tenant=tenant, operator=operator or "", agent=agent, asks=question)
        raise typer.Exit(run(wish, Way(context=context, url=url, key=key), as_json=output is Output.JSON))


@contextlib.contextmanager
def _open(
    agent: str, *, namespace: str | None, tenant: str | None, context: str | None, url: str | None, key: str | None
) -> Iterator[TenantClient]:
    """The tenant's API, at a URL or through the cluster."""
    if url is not None:
        with client_at(url, key) as client:
            yield client
        return
    from .cluster import Cluster  # noqa: PLC0415  # the official client takes longer to import than all the rest

    cluster = Cluster(context)
    namespace = namespace or cluster.find_namespace(agent, tenant=tenant)
    state = cluster.agent_state(namespace, agent)
    if not state.is_published:
        raise AgentUnavailable(f"The agent {agent!r} is not ready: {state.trouble}")
    key = key or checked_key(cluster.admin_key(namespace))
    if state.trouble:
        complain(f"The agent {agent!r} is not ready: {state.trouble} What was published last answers.", style="yellow")
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
    said = ""
    try:
        for told in client.send(str(conversation.id), content):
            text = said + told.text if isinstance(told, Piece) else told.text
            # What replaces the pieces of before mostly goes on from them.
            print(text.removeprefix(said) if text.startswith(said) else f"\n{text}", end="", flush=True)
            said = text
    finally:
        if said:
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


def _leave(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
