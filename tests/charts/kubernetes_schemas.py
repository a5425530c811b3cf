"""Strict JSON schemas of every kind that an API server serves, from its own OpenAPI documents, for kubeconform."""

import json
from pathlib import Path
from typing import Any

from tests.support.apiserver import RunningApiServer

LOCATION = "{{ .Group }}_{{ .ResourceAPIVersion }}_{{ .ResourceKind }}.json"
"""How kubeconform finds the file of a kind."""
_KINDS = "x-kubernetes-group-version-kind"


def write_schemas(server: RunningApiServer, folder: Path) -> None:
    """Write one file for each kind; each holds all that its group's document defines."""
    for path in server.send("GET", "/openapi/v3")["paths"]:
        if not path.startswith(("api/", "apis/")):
            continue
        schemas = server.send("GET", f"/openapi/v3/{path}").get("components", {}).get("schemas", {})
        definitions = {name: _close(schema) for name, schema in schemas.items()}
        for name, schema in schemas.items():
            for kind in schema.get(_KINDS, []):
                # The core group has no name; kubeconform takes the first part of `apiVersion`, which is the version.
                group = kind["group"] or kind["version"]
                file = folder / f"{group}_{kind['version']}_{kind['kind']}.json".lower()
                reference = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": definitions}}
                file.write_text(json.dumps(reference))


def _close(schema: Any) -> Any:
    """The schema, in which an object with named fields may have no other."""
    if isinstance(schema, list):
        return [_close(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _close(value) for key, value in schema.items()}
    is_open = "additionalProperties" in schema or schema.get("x-kubernetes-preserve-unknown-fields")
    # A schema of fields has a type beside them; the map of a kind's own fields, one of which may be `properties`, has none.
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" and not is_open:
        closed["additionalProperties"] = False
    return closed
