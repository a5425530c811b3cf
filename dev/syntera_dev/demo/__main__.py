"""`python -m syntera_dev.demo up|down`: what `make demo` and `make demo-down` do."""

import argparse
import sys
import time

import httpx

from syntera_dev.errors import DevError
from syntera_dev.progress import say

from .setup import prepare, tear_down
from .showcase import apply_samples, ask, say_what_next


def main() -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m syntera_dev.demo", description=__doc__)
    parser.add_argument("command", choices=["up", "down"])
    command = parser.parse_args().command
    try:
        if command == "down":
            tear_down()
        else:
            _show()
    except (DevError, httpx.HTTPError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _show() -> None:
    started = time.monotonic()
    installation = prepare()
    installation.install()
    apply_samples(installation.kubectl)
    ask(installation.kubectl)
    say_what_next(installation.kubectl)
    say(f"\n(all of it took {time.monotonic() - started:.0f} s)")


if __name__ == "__main__":
    sys.exit(main())
