"""The operator with a defect: `python -m tests.support.stuck_operator`. What it begins never ends, and cannot be cancelled."""

import asyncio
import contextlib
import sys
from typing import NoReturn

from syntera_operator import __main__ as operator


async def _hang(*_: object) -> NoReturn:
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)


def main() -> int:
    """Run the operator."""
    vars(operator)["reconcile_tenant"] = _hang
    return operator.main()


if __name__ == "__main__":
    sys.exit(main())
