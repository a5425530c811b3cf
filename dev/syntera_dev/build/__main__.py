"""`python -m syntera_dev.build NAME...` prints the path of each program, compiling what the cache lacks."""

import argparse
import sys

from syntera_dev.errors import DevError

from .binaries import BINARIES, ensure_binaries


def main() -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m syntera_dev.build", description=__doc__)
    parser.add_argument("name", nargs="+", choices=[*BINARIES, "all"])
    names = parser.parse_args().name
    try:
        paths = ensure_binaries(BINARIES if "all" in names else names)
    except DevError as error:
        print(error, file=sys.stderr)
        return 1
    for path in paths.values():
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
