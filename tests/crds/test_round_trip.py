"""Random objects: the API server gives sound ones back unchanged, and agrees with the models on what is sound."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from syntera_crds.errors import InvalidResource
from syntera_crds.v1alpha1 import KINDS
from syntera_crds.validation import load
from tests.support.apiserver import ApiRefused, unique_name

from .constraints import Json
from .manifests import make_manifest
from .server import Kinds
from .strategies import objects

pytestmark = pytest.mark.api

random_objects = settings(
    max_examples=40,
    # The models are small, but some rules are hard to keep by chance.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
each_kind = pytest.mark.parametrize("kind", KINDS)


def part(kind: str, field: str) -> type[BaseModel]:
    """The model of a kind's spec or status."""
    model = KINDS[kind].model_fields[field].annotation
    assert isinstance(model, type)
    assert issubclass(model, BaseModel)
    return model


@each_kind
@given(data=st.data())
@random_objects
def test_a_sound_object_comes_back_unchanged(kind: str, kinds: Kinds, data: st.DataObject) -> None:
    spec, status = data.draw(objects(part(kind, "spec"))), data.draw(objects(part(kind, "status")))
    manifest = make_manifest(kind, spec, name=unique_name())
    created = kinds.create(manifest)
    kinds.update({**created, "status": status}, subresource="status")
    stored = kinds.get(kind, created["metadata"]["name"])
    kinds.delete(kind, created["metadata"]["name"])
    expected = {"conditions": created["status"]["conditions"], **status}  # the schemas' one default
    assert (stored["spec"], stored["status"]) == (spec, expected)
    read, made = load(stored), load({**manifest, "status": expected})
    assert read.model_dump(exclude={"metadata"}) == made.model_dump(exclude={"metadata"})


@each_kind
@given(data=st.data())
@random_objects
def test_api_server_and_models_agree_on_what_is_sound(kind: str, kinds: Kinds, data: st.DataObject) -> None:
    spec = data.draw(objects(part(kind, "spec")))
    manifest = make_manifest(kind, data.draw(_spoilt(spec)))
    assert _is_sound_for_models(manifest) == _is_sound_for_server(manifest, kinds)


def _is_sound_for_models(manifest: Json) -> bool:
    try:
        load(manifest)
    except InvalidResource:
        return False
    return True


def _is_sound_for_server(manifest: Json, kinds: Kinds) -> bool:
    try:
        kinds.create(manifest, is_dry_run=True)
    except ApiRefused as exc:
        if exc.status not in (400, 422):
            raise
        return False
    return True


_NAMES = ("name", "model", "models", "value", "replicas", "x", "base_url", "display_name", "n")
# Without null, which the server drops before it looks, and 1.0, which it reads as 1.
_SPOILERS: st.SearchStrategy[Any] = (
    st.sampled_from(["", "a", "A b", "1", "-1", "1Gi", "http://a", "a" * 70, "a" * 300, "a" * 33000, "ä", "a\n", "\0"])
    | st.sampled_from([0, 1, -1, 2, 101, 601, 2**31, 2**63 - 1, 0.5, 2.5, True, False])
    | st.sampled_from([[], {}, [""], [{}], ["a", "a"], {"name": "a"}, {"name": "a", "key": "a"}, {"a": 1}])
)


@st.composite
def _spoilt(draw: st.DrawFn, spec: Json) -> Json:
    """The spec with one change: a value replaced, a field added or left out, a list's entry doubled."""
    changed: Json = deepcopy(spec)
    place: dict[str, Any] | list[Any] = draw(st.sampled_from([changed, *_containers(changed)]))
    if isinstance(place, list):
        _spoil_list(draw, place)
        return changed
    name = draw(st.sampled_from([*place, *_NAMES]))
    if name in place and draw(st.booleans()):
        del place[name]
    else:
        place[name] = draw(_SPOILERS)
    return changed


def _spoil_list(draw: st.DrawFn, place: list[Any]) -> None:
    place.append(deepcopy(draw(st.sampled_from(place) | _SPOILERS if place else _SPOILERS)))


def _containers(value: Any) -> list[Any]:
    below = list(value.values()) if isinstance(value, dict) else value
    found = [item for item in below if isinstance(item, dict | list)]
    return [*found, *(deeper for item in found for deeper in _containers(item))]
