"""The cluster itself: is it of a supported release, are our kinds there, and are they those of this command line? Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from syntera_crds import __version__
from syntera_crds.contract import names
from syntera_crds.crd import build_crd
from syntera_crds.v1alpha1 import KINDS, Resource

from .findings import Check, Finding, forbidden, ok, problem, warning
from .manifests import Hidden, Manifest, Seen, conditions_of, is_being_deleted, is_true, join, quote

OLDEST_KUBERNETES = (1, 31)
"""What the chart asks for, too (`kubeVersion`)."""
_INSTALL = "Install or upgrade the chart, which brings the CRDs; with crds.enabled=false, apply crds/*.yaml."
_MAX_FIELDS = 5
"""So many fields tell which release it is; more would only fill the screen."""


def judge_version(version: Manifest) -> Finding:
    """Whether the API server is of a release that Syntera is made for."""
    major, minor = (_number(version.get(part)) for part in ("major", "minor"))
    told = str(version.get("gitVersion") or f"{major}.{minor}")
    if (major, minor) >= OLDEST_KUBERNETES:
        return ok(Check.CLUSTER, f"Kubernetes {told.removeprefix('v')} answers.")
    oldest = ".".join(map(str, OLDEST_KUBERNETES))
    return problem(
        Check.CLUSTER,
        f"The cluster runs Kubernetes {told.removeprefix('v')}; Syntera needs {oldest} or newer.",
        do="Upgrade the cluster.",
    )


def judge_kinds(crds: Mapping[str, Seen], served: Mapping[str, bool]) -> Iterator[Finding]:
    """Whether each kind is installed, served and of the fields that this command line knows.

    `crds` are the CustomResourceDefinitions by kind, `served` says of each kind whether discovery lists it.
    """
    hidden = next((crd for crd in crds.values() if isinstance(crd, Hidden)), None)
    for kind, crd in crds.items():
        if isinstance(crd, Hidden):
            yield _judge_unseen(KINDS[kind], is_served=served[kind])
        else:
            yield _judge_kind(KINDS[kind], crd, is_served=served[kind])
    if hidden is not None:
        yield forbidden(Check.KINDS, hidden.action)


def _judge_unseen(kind: type[Resource], *, is_served: bool) -> Finding:
    """The same from discovery alone, which everybody may see."""
    subject = _subject(kind)
    if is_served:
        return ok(Check.KINDS, f"The cluster serves {kind.kind()} {names.VERSION}.", subject=subject)
    return problem(
        Check.KINDS, f"The cluster does not serve {kind.kind()} {names.VERSION}.", do=_INSTALL, subject=subject
    )


def _judge_kind(kind: type[Resource], crd: Manifest | None, *, is_served: bool) -> Finding:
    if trouble := _find_trouble(kind, crd, is_served=is_served):
        return problem(Check.KINDS, trouble, do=_INSTALL, subject=_subject(kind))
    assert crd is not None
    return _compare(kind, crd, subject=_subject(kind))


def _subject(kind: type[Resource]) -> str:
    return f"customresourcedefinition/{kind.info.plural}.{names.GROUP}"


def _find_trouble(kind: type[Resource], crd: Manifest | None, *, is_served: bool) -> str:
    """Why the kind cannot be used, empty if it can."""
    if crd is None:
        return f"The CRD of {kind.kind()} is not installed."
    if is_being_deleted(crd):
        return f"The CRD of {kind.kind()} is being deleted, and with it every {kind.kind()}."
    conditions = conditions_of(crd)
    for type_ in ("NamesAccepted", "Established"):
        if not is_true(conditions.get(type_)):
            return f"The CRD of {kind.kind()} is not in use: {quote((conditions.get(type_) or {}).get('message'))}"
    if not is_served or not _find_version(crd).get("served"):
        return f"The cluster does not serve {kind.kind()} {names.VERSION}."
    return ""


def _compare(kind: type[Resource], crd: Manifest, *, subject: str) -> Finding:
    """Whether the cluster's kind has the fields of ours."""
    theirs, ours = (list_fields(_find_schema(one)) for one in (crd, build_crd(kind)))
    if missing := sorted(ours - theirs):
        return warning(
            Check.KINDS,
            f"The cluster's {kind.kind()} lacks {_name(missing)}: its CRD is older than this command line"
            f" ({__version__}).",
            do="Upgrade the chart and its CRDs, or use the command line of the release that is installed.",
            subject=subject,
        )
    if added := sorted(theirs - ours):
        return warning(
            Check.KINDS,
            f"The cluster's {kind.kind()} has {_name(added)}, which this command line ({__version__}) does not know.",
            do="Use the command line of the release that is installed.",
            subject=subject,
        )
    return ok(Check.KINDS, f"{kind.kind()} {names.VERSION} is served, as this command line knows it.", subject=subject)


def list_fields(schema: Mapping[str, Any], path: str = "") -> set[str]:
    """The paths of all fields of a schema."""
    found: set[str] = set()
    for name, field in (schema.get("properties") or {}).items():
        here = f"{path}.{name}" if path else name
        found |= {here} | list_fields(field, here)
    for part in ("items", "additionalProperties"):
        if isinstance(schema.get(part), Mapping):
            found |= list_fields(schema[part], f"{path}[]")
    return found


def _find_version(crd: Manifest) -> Mapping[str, Any]:
    versions = crd["spec"].get("versions") or ()
    return next((version for version in versions if version.get("name") == names.VERSION), {})


def _find_schema(crd: Manifest) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (_find_version(crd).get("schema") or {}).get("openAPIV3Schema") or {}
    return found


def _name(fields: list[str]) -> str:
    told = [*fields[:_MAX_FIELDS], *([f"{len(fields) - _MAX_FIELDS} more"] if len(fields) > _MAX_FIELDS else [])]
    return f"the field {told[0]}" if len(told) == 1 else f"the fields {join(told)}"


def _number(text: object) -> int:
    """Managed clusters write `31+`."""
    found = re.match(r"\d+", str(text or ""))
    return int(found.group()) if found else 0
