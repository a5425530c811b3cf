"""What can go wrong in this package."""

from dataclasses import dataclass


class UnsupportedSchema(TypeError):
    """A model uses something that the API server's schemas cannot say."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with an object."""

    path: str
    """The field, as in `spec.models[0].baseURL`; empty: the whole object."""
    message: str
    """What to do about it."""

    def __str__(self) -> str:
        """The path and what to do."""
        return f"{self.path}: {self.message}" if self.path else self.message


class InvalidResource(ValueError):
    """An object does not say what its kind asks for."""

    code = "invalid-resource"
    retryable = False

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        """One line per fault."""
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults
