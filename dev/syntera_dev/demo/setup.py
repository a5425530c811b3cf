"""The ground for an installation: a cluster that has the images of this checkout, and how to leave it again."""

import os
from concurrent.futures import ThreadPoolExecutor

from syntera_dev.build import ensure_binaries
from syntera_dev.cluster import lifecycle
from syntera_dev.cluster.target import load_images, resolve_cluster
from syntera_dev.images.builder import ensure_images
from syntera_dev.progress import step

from .installation import MODELS_NAMESPACE, RELEASE, STORES_NAMESPACE, SYSTEM_NAMESPACE, Installation
from .kubectl import Kubectl
from .showcase import SAMPLES


def prepare(name: str = lifecycle.DEFAULT_NAME) -> Installation:
    """Bring a cluster up, or take the one that CLUSTER=current names, and give it the images.

    Raises:
        DevError: something could not be installed, compiled, built or started.
    """
    with ThreadPoolExecutor() as pool:
        # Images wait for the network and the disk, compiling for the processors: together they take less time.
        building = pool.submit(ensure_images)
        compiling = pool.submit(ensure_binaries, ["helm"])
        target = resolve_cluster(name, start=True)
        images = building.result()
        compiling.result()
    load_images(target, [image.archive for image in images.values()])
    return Installation(Kubectl(target.kubeconfig), {part: image.reference for part, image in images.items()})


def is_up(name: str = lifecycle.DEFAULT_NAME) -> bool:
    """Whether the cluster was there before; somebody else's always was."""
    return _is_foreign() or lifecycle.status(name) is not None


def tear_down(name: str = lifecycle.DEFAULT_NAME) -> None:
    """Remove our own cluster whole; from somebody else's only what we brought."""
    if not _is_foreign():
        lifecycle.down(name)
        return
    kubectl = Kubectl(resolve_cluster(name).kubeconfig)
    with step("delete the samples and every Tenant, while the operator is there to clean up"):
        kubectl("delete", "-f", str(SAMPLES), "--ignore-not-found", "--timeout=120s", timeout_seconds=130)
    with step("uninstall the operator"):
        Installation(kubectl, {}).helm("uninstall", RELEASE, "--namespace", SYSTEM_NAMESPACE, "--ignore-not-found")
        crds = ("tenants.syntera.io", "agents.syntera.io", "knowledgebases.syntera.io")
        kubectl("delete", "crd", *crds, "--ignore-not-found")
    with step("delete the stores and the model server"):
        namespaces = (SYSTEM_NAMESPACE, STORES_NAMESPACE, MODELS_NAMESPACE)
        kubectl("delete", "namespace", *namespaces, "--ignore-not-found", timeout_seconds=180)


def _is_foreign() -> bool:
    return os.environ.get("CLUSTER") == "current"
