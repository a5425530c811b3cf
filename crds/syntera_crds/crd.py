"""Builds the CustomResourceDefinition of a kind from its model. Pure: it writes and asks nothing."""

from typing import Any

from .contract.names import GROUP, VERSION
from .schema import Schema, build_structural_schema
from .v1alpha1.common import ConditionStatus, ConditionType, PrinterColumn, Reason, Resource

CATEGORY = "syntera"

_TYPE_META: dict[str, Schema] = {
    "apiVersion": {"type": "string", "description": "Version of the schema: `syntera.io/v1alpha1`."},
    "kind": {"type": "string", "description": "Name of the kind."},
}
_UNSEEN = [
    {
        "type": str(ConditionType.READY),
        "status": str(ConditionStatus.UNKNOWN),
        "reason": str(Reason.NOT_OBSERVED),
        "message": "The operator has not looked at this object yet. If this stays, see whether it runs.",
        "lastTransitionTime": "1970-01-01T00:00:00Z",
    }
]
"""The one default of the schemas: without it, kstatus and the tools that follow it call an unseen object current."""


def build_crd(kind: type[Resource]) -> dict[str, Any]:
    """The whole CustomResourceDefinition of a kind.

    Raises:
        UnsupportedSchema: the model uses something that a structural schema cannot say.
    """
    info = kind.info
    names = {
        "kind": kind.kind(),
        "listKind": f"{kind.kind()}List",
        "plural": info.plural,
        "singular": info.singular,
        "shortNames": list(info.short_names),
        "categories": [CATEGORY],
    }
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [_build_column(column) for column in info.columns],
        "schema": {"openAPIV3Schema": build_object_schema(kind)},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{info.plural}.{GROUP}"},
        "spec": {"group": GROUP, "names": names, "scope": info.scope, "versions": [version]},
    }


def build_object_schema(kind: type[Resource]) -> Schema:
    """The schema of a whole object.

    Raises:
        UnsupportedSchema: the model uses something that a structural schema cannot say.
    """
    schema = build_structural_schema(kind)
    fields = schema["properties"]
    # Of the metadata, which the API server knows itself, a schema may bound the name and nothing else.
    metadata = {"type": "object", "properties": {"name": fields["metadata"]["properties"]["name"]}}
    status = fields["status"]
    conditions = {**status["properties"]["conditions"], "default": _UNSEEN}
    # A status that is not there gets no defaults below it, hence the empty one.
    status = {**status, "default": {}, "properties": {**status["properties"], "conditions": conditions}}
    return {
        **schema,
        "properties": {**_TYPE_META, "metadata": metadata, "spec": fields["spec"], "status": status},
        "required": ["spec"],
    }


def _build_column(column: PrinterColumn) -> dict[str, Any]:
    made: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.json_path}
    if column.description:
        made["description"] = column.description
    if column.wide:
        made["priority"] = 1
    return made
