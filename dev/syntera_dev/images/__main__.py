"""`python -m syntera_dev.images build [--part PART]...` builds images and prints their references as JSON: {part: reference}."""

import argparse
import json
import sys

from syntera_dev.errors import DevError

from .builder import ensure_images
from .parts import PARTS


def main() -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m syntera_dev.images", description=__doc__)
    build = parser.add_subparsers(dest="command", required=True).add_parser("build", help="build what the cache lacks")
    build.add_argument("--part", action="append", choices=[*PARTS], help="one part; repeat for more (default: all)")
    build.add_argument(
        "--archives", action="store_true", help="print the paths of the OCI archives in place of the references"
    )
    arguments = parser.parse_args()
    try:
        images = ensure_images(arguments.part or PARTS)
    except DevError as error:
        print(error, file=sys.stderr)
        return 1
    results = {part: str(image.archive if arguments.archives else image.reference) for part, image in images.items()}
    print(json.dumps(results, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
