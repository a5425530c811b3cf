"""The kinds on the API server, and one stored object of each for what can only be tried on an object that is there."""

from collections.abc import Iterator

import pytest

from tests.support.apiserver import RunningApiServer, unique_name

from .constraints import Json
from .manifests import SPECS, make_manifest
from .server import Kinds


@pytest.fixture(scope="session")
def kinds(api_server: RunningApiServer) -> Kinds:
    """Our kinds on the session's API server."""
    return Kinds(api_server, api_server.create_namespace("crds"))


@pytest.fixture(scope="session")
def stored(kinds: Kinds) -> Iterator[dict[str, Json]]:
    """One stored object of each kind; tests change it in dry runs only."""
    made = {kind: kinds.create(make_manifest(kind, specs[0], name=unique_name())) for kind, specs in SPECS.items()}
    yield made
    for kind, manifest in made.items():
        kinds.delete(kind, manifest["metadata"]["name"])
