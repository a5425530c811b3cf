"""`python -m syntera_dev.cluster up|down|status|load-image|kubeconfig`: the development cluster from the command line.

With `CLUSTER=current` in the environment `up` and `down` do nothing, and the others work on the current kubeconfig's cluster.
"""

import argparse
import os
import sys
from pathlib import Path

from syntera_dev.errors import DevError
from syntera_dev.progress import say

from . import lifecycle
from .target import load_images, resolve_cluster


def main() -> int:
    """Run the command line and return its exit code."""
    try:
        return _run(_parser().parse_args())
    except DevError as error:
        print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m syntera_dev.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    parsers = {
        "up": commands.add_parser("up", help="bring the cluster up; what runs is left alone"),
        "down": commands.add_parser("down", help="end the cluster and remove every trace of it"),
        "status": commands.add_parser("status", help="tell what runs"),
        "load-image": commands.add_parser("load-image", help="make the images of OCI archives available to pods"),
        "kubeconfig": commands.add_parser("kubeconfig", help="print the path of the administrator's kubeconfig"),
    }
    for each in parsers.values():
        each.add_argument("--name", default=lifecycle.DEFAULT_NAME, help="the cluster's name (default: %(default)s)")
    parsers["up"].add_argument("--control-plane-only", action="store_true", help="no node and no pods; up in seconds")
    parsers["up"].add_argument(
        "--controllers", action="store_true", help="with --control-plane-only: run the controllers"
    )
    parsers["load-image"].add_argument("archive", nargs="+", type=Path)
    return parser


def _run(arguments: argparse.Namespace) -> int:
    name = arguments.name
    match arguments.command:
        case "up" if arguments.control_plane_only:
            print(lifecycle.up_control_plane(name, controllers=arguments.controllers))
        case "up":
            print(resolve_cluster(name, start=True).kubeconfig)
        case "down" if os.environ.get("CLUSTER") == "current":
            say("CLUSTER=current: the cluster is not ours and stays up")
        case "down":
            lifecycle.down(name)
        case "status":
            return _print_status(name)
        case "load-image":
            load_images(resolve_cluster(name), arguments.archive)
        case _:
            print(_kubeconfig(name))
    return 0


def _print_status(name: str) -> int:
    if os.environ.get("CLUSTER") == "current":
        target = resolve_cluster(name)
        print(f"context     {target.context} (CLUSTER=current)\nkubeconfig  {target.kubeconfig}")
        return 0
    status = lifecycle.status(name)
    if status is None:
        print(f"cluster {name!r} is not up")
        return 1
    for component in status.components:
        print(f"{component.name:24} {component.version:12} {'running' if component.is_running else 'ENDED'}")
    print(
        f"server      {status.server}\nkubeconfig  {status.kubeconfig}\nserving     {'yes' if status.is_serving else 'NO'}"
    )
    return 0 if status.is_serving and all(component.is_running for component in status.components) else 1


def _kubeconfig(name: str) -> str:
    status = None if os.environ.get("CLUSTER") == "current" else lifecycle.status(name)
    return resolve_cluster(name).kubeconfig if status is None else str(status.kubeconfig)


if __name__ == "__main__":
    sys.exit(main())
