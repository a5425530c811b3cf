"""Which cluster a command works on: our own, or with `CLUSTER=current` the one that the current kubeconfig names.

In the second case nothing is started, installed or taken down: the cluster is somebody's, and only what is asked for touches it.
"""

import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from syntera_dev.commands import run
from syntera_dev.errors import CommandFailed, DevError, MissingTool
from syntera_dev.progress import say, step

from . import lifecycle
from .archives import image_references
from .node import Node

_KIND_PREFIX = "kind-"


@dataclass(frozen=True)
class Target:
    """A cluster to work on."""

    kubeconfig: str
    """A value for the variable KUBECONFIG."""
    context: str
    node: Node | None
    """Our own cluster's node; None for a cluster that is somebody else's."""


def resolve_cluster(name: str = lifecycle.DEFAULT_NAME, *, start: bool = False) -> Target:
    """Return the cluster that the variable CLUSTER chooses; with `start`, one of ours is brought up if it is not.

    Raises:
        DevError: it does not run, could not be started, or CLUSTER has another value than `local` and `current`.
    """
    match os.environ.get("CLUSTER") or "local":
        case "local":
            if start:
                lifecycle.up(name)
            node = lifecycle.existing_node(name)
            return Target(str(node.control_plane.kubeconfig), name, node)
        case "current":
            return _current()
        case other:
            raise DevError(f"CLUSTER={other!r}: say 'current' for the kubeconfig's cluster, or nothing for a local one")


def load_images(target: Target, archives: Iterable[Path]) -> None:
    """Make the images of OCI archives available to a cluster's pods; what is there already is skipped.

    Raises:
        DevError: an archive cannot be read or loaded, or the cluster has no way in for images.
    """
    for archive in archives:
        if target.node is not None:
            _load_into_node(target.node, archive)
        elif target.context.startswith(_KIND_PREFIX):
            cluster = target.context.removeprefix(_KIND_PREFIX)
            with step(f"load {archive.name} into kind"):
                run(["kind", "load", "image-archive", archive, "--name", cluster], timeout_seconds=600)
        else:
            raise DevError(
                f"context {target.context!r} is neither the local cluster nor one of kind, so images cannot be loaded into it; "
                f"copy {archive} to a registry that it pulls from (skopeo copy oci-archive:{archive} docker://REGISTRY/NAME:TAG) "
                "and name that image in the chart's values"
            )


def find_kubectl() -> str:
    """Return the path of kubectl: the one of this Python environment, else the machine's.

    Raises:
        MissingTool: there is none.
    """
    found = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or shutil.which("kubectl")
    if found is None:
        raise MissingTool("kubectl is not installed; it comes with the development dependencies (locks/dev.txt)")
    return found


def _load_into_node(node: Node, archive: Path) -> None:
    references = image_references(archive)
    if references and references <= node.images():
        say(f"  there  {', '.join(sorted(references))}")
        return
    with step(f"load {', '.join(sorted(references)) or archive.name}"):
        node.import_image(archive)


def _current() -> Target:
    try:
        context = run([find_kubectl(), "config", "current-context"]).strip()
    except CommandFailed as exc:
        raise DevError("CLUSTER=current, but the kubeconfig names no current context") from exc
    return Target(os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config"), context, None)
