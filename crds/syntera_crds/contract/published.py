"""What every published configuration has in common.

Readers ignore fields that they do not know, so that old and new pods live side by side during an upgrade; hence a new
field always has a default that means "as before".
"""

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
