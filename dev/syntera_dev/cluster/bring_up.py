"""A cluster with images in it, as quickly as the machine can: what waits for the network runs beside what computes."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from syntera_dev.images.builder import ensure_images

from .lifecycle import DEFAULT_NAME
from .target import Target, load_images, resolve_cluster


def bring_up(parts: Iterable[str], *, name: str = DEFAULT_NAME) -> tuple[Target, dict[str, str]]:
    """Bring up the chosen cluster, build images meanwhile, load them; return the cluster and each part's image reference.

    Raises:
        DevError: the cluster could not be started, or an image not be built or loaded.
    """
    with ThreadPoolExecutor() as pool:
        building = pool.submit(ensure_images, list(parts))
        target = resolve_cluster(name, start=True)
        images = building.result()
    load_images(target, (image.archive for image in images.values()))
    return target, {part: image.reference for part, image in images.items()}
