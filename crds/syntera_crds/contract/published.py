"""What every published configuration has in common.

Readers ignore fields that they do not know, so that old and new pods live side by side during an upgrade; hence a new
field always has a default that means "as before".
"""

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Published(BaseModel):
    """Base of everything that the operator publishes for runtimes."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )

    def to_json(self) -> str:
        """The text of a published ConfigMap's entry; the same configuration always gives the same text."""
        return self.model_dump_json(by_alias=True, exclude_defaults=True)


class Revised(Published):
    """Base of a configuration that is published under revisions: its field `revision`, which grows by one with every effective
    change."""

    def digest(self) -> str:
        """Hash of everything but the revision, 32 hexadecimal digits: equal digests mean equal behaviour.

        Defaults do not count, so that a release with a new field does not publish everything anew. Only the writer
        computes it, and publishes it beside the configuration: a reader of another release may know other fields and
        would get another hash, so it hands on the published one.
        """
        return hash_content(self.model_dump(mode="json", by_alias=True, exclude={"revision"}, exclude_defaults=True))


def hash_content(content: Any) -> str:
    """Hash of what JSON can say, however its objects are ordered: 32 hexadecimal digits."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]
