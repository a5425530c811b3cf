"""Has the database brought to this release's schema, by a process of its own that the leader starts.

The operator neither waits for it nor ends with it: tenants whose database is not ready say so and are tried again.
"""

import asyncio
import contextlib
import os
import random
import sys
from collections.abc import Sequence

import structlog

log = structlog.get_logger(__name__)

_COMMAND = (sys.executable, "-m", "syntera_operator.stores.migrate")
_FIRST_DELAY_SECONDS = 1.0
_MAX_DELAY_SECONDS = 10.0
"""Tenants wait for it."""
_TERMINATION_SECONDS = 1.0


async def migrate(command: Sequence[str] = _COMMAND) -> int:
    """Run migrations until they have succeeded; gives how often they had failed.

    Cancelled, it ends the process; PostgreSQL rolls back.
    """
    failures = 0
    while True:
        code = await _run(command)
        if code == os.EX_OK:
            log.info("database schema is current")
            return failures
        failures += 1
        backoff = min(_MAX_DELAY_SECONDS, _FIRST_DELAY_SECONDS * 2.0 ** min(failures - 1, 10))
        delay = backoff * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret
        log.warning("database could not be migrated", exit_code=code, failures=failures, delay_seconds=round(delay, 1))
        await asyncio.sleep(delay)


async def _run(command: Sequence[str]) -> int:
    # What it says becomes part of our structured log.
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    try:
        _, said = await process.communicate()
        for line in said.decode(errors="replace").splitlines():
            log.info("migration said", line=line)
        return process.returncode or os.EX_OK
    finally:
        if process.returncode is None:
            process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _TERMINATION_SECONDS)
            if process.returncode is None:
                process.kill()
