"""kubectl against one cluster: the way users talk to it, so the demo and the end-to-end tests do the same."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syntera_dev.commands import run, succeeds


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl with one kubeconfig."""

    kubeconfig: Path

    @property
    def program(self) -> Path:
        """The kubectl of the virtual environment, whose version the lock file pins."""
        return Path(sys.executable).with_name("kubectl")

    @property
    def words(self) -> list[str | Path]:
        """How every call begins."""
        return [self.program, "--kubeconfig", self.kubeconfig]

    def __call__(self, *arguments: str, stdin: str = "", timeout_seconds: float = 60) -> str:
        """Run kubectl and return what it prints.

        Raises:
            CommandFailed: it ended with an error; the message holds what it said.
        """
        return run([*self.words, *arguments], stdin=stdin, timeout_seconds=timeout_seconds)

    def works(self, *arguments: str) -> bool:
        """Whether kubectl ends well, where its failure is an answer and not an error."""
        return succeeds([*self.words, *arguments])

    def get(self, *arguments: str) -> dict[str, Any]:
        """`kubectl get … -o json`."""
        found: dict[str, Any] = json.loads(self("get", *arguments, "-o", "json"))
        return found

    def apply(self, manifest: str | Mapping[str, Any]) -> str:
        """`kubectl apply` of YAML text or of one manifest."""
        text = manifest if isinstance(manifest, str) else json.dumps(manifest)
        return self("apply", "-f", "-", stdin=text)

    def ensure_namespace(self, name: str) -> None:
        """Make a namespace that holds to the restricted Pod Security standard, if it is not there."""
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
            }
        )
