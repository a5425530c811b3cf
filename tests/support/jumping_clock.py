"""The operator with a clock on the wall that jumps: `python -m tests.support.jumping_clock <file>`.

The clock is ahead by as many seconds as the file says, while there is one. Clocks that only ever count are left alone, as they
are when an administrator, or the time service, sets a machine's clock.
"""

import sys
import time
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

from syntera_operator import __main__ as operator

_file = Path(sys.argv[1])
_time = time.time


class _JumpingDatetime(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # what it jumps to is no clock
        return datetime.now(tz) + timedelta(seconds=_offset())


def _offset() -> float:
    return float(_file.read_text() or 0) if _file.exists() else 0.0


def main() -> int:
    """Run the operator."""
    time.time = lambda: _time() + _offset()
    for name, module in list(sys.modules.items()):
        if name.startswith("syntera_") and getattr(module, "datetime", None) is datetime:
            module.datetime = _JumpingDatetime  # type: ignore[attr-defined]
    return operator.main()


if __name__ == "__main__":
    sys.exit(main())
