"""Runs one sync, or forgets a knowledge base: `python -m syntera_runtime.ingest {sync,erase}`.

On SIGTERM no further document begins; what is under way is stored, and the process ends. Where that takes too long it is broken off:
the next sync goes on from there all the same.
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import structlog
import uvloop

from ..errors import ConfigurationError
from ..logs import configure_logging
from .context import find_config, open_tools, read_config
from .ending import Status, describe, leave_message, status_of
from .erasure import erase
from .failures import SyncFailed, explain
from .settings import IngestSettings, load_settings
from .sync import BUSY_SECONDS, SyncTools, synchronise

STOP_SECONDS = 45.0
"""How long after SIGTERM work may go on; the pod's grace period must be longer, by some 10 seconds."""
TRIGGERS = ("schedule", "request", "configuration")

Command = Callable[[SyncTools], Awaitable[str]]

log = structlog.get_logger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line says.

    Returns:
        The status for the process to end with (see `Status`).
    """
    chosen = _parse(arguments)
    try:
        settings = load_settings()
    except ConfigurationError as error:
        print(f"syntera-ingestion: {error}", file=sys.stderr)  # noqa: T201  # there is no log yet
        return Status.FINAL
    configure_logging(
        settings.log_level, tenant=settings.tenant, pod=settings.pod_name, knowledge_base=settings.knowledge_base
    )
    status, message = uvloop.run(_run(settings, chosen))
    leave_message(settings.termination_log, message)
    return status


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m syntera_runtime.ingest", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    sync = commands.add_parser("sync", help="bring the knowledge base in step with its sources")
    sync.add_argument("--trigger", choices=TRIGGERS, required=True, help="what began it")
    sync.add_argument(
        "--when-busy", choices=("wait", "skip"), default="wait", help="where another sync runs (default: %(default)s)"
    )
    commands.add_parser("erase", help="forget the knowledge base with everything that is in it")
    return parser.parse_args(arguments)


async def _run(settings: IngestSettings, chosen: argparse.Namespace) -> tuple[Status, str]:
    """How it ended: a status, and a sentence."""
    command: Command = (
        partial(_erase, settings)
        if chosen.command == "erase"
        else partial(_sync, settings, trigger=chosen.trigger, waits=chosen.when_busy == "wait")
    )
    try:
        return Status.DONE, await _until_stopped(settings, command)
    except SyncFailed as failure:
        log.warning("ended early", code=failure.code, message=failure.message, is_final=failure.is_final)
        return status_of(failure), f"{failure.code}: {failure.message}"
    except ConfigurationError as error:
        log.error("configuration not usable", message=error.message)
        return Status.FINAL, f"{error.code}: {error.message}"
    except Exception as error:
        log.exception("process failed")
        explained = explain(error)
        return Status.TRY_AGAIN, f"{explained.code}: {explained.message}"


async def _until_stopped(settings: IngestSettings, command: Command) -> str:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_tools(settings, stop=stop) as tools:
        work = asyncio.ensure_future(command(tools))
        breaker = asyncio.create_task(_break_off(work, stop), name="break off")
        try:
            return await work
        except asyncio.CancelledError as error:
            if stop.is_set():
                raise explain(error) from None
            raise
        finally:
            breaker.cancel()
            work.cancel()
            await asyncio.wait([breaker, work])


async def _break_off(work: "asyncio.Future[str]", stop: asyncio.Event) -> None:
    await stop.wait()
    log.info("stopping", seconds=STOP_SECONDS)
    await asyncio.sleep(STOP_SECONDS)
    work.cancel()


async def _sync(settings: IngestSettings, tools: SyncTools, *, trigger: str, waits: bool) -> str:
    ended = await synchronise(
        tools, partial(read_config, settings), name=settings.knowledge_base, trigger=trigger, waits=waits
    )
    return "skipped: another sync runs." if ended is None else describe(ended)


async def _erase(settings: IngestSettings, tools: SyncTools) -> str:
    while not await erase(tools, find_config(settings), name=settings.knowledge_base):
        if tools.stop.is_set():
            raise explain(asyncio.CancelledError())
        await asyncio.sleep(BUSY_SECONDS)
    return "erased: nothing of the knowledge base is left."


if __name__ == "__main__":
    sys.exit(main())
