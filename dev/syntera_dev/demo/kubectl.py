"""kubectl against one cluster: the way users talk to it, so the demo and the end-to-end tests do the same."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from syntera_dev.cluster.target import find_kubectl
from syntera_dev.commands import run, succeeds


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl with one kubeconfig."""

    kubeconfig: str
    """A value for the variable KUBECONFIG."""

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs in its environment to talk to the same cluster."""
        return {"KUBECONFIG": self.kubeconfig}

    def __call__(self, *arguments: str, stdin: str = "", timeout_seconds: float = 60) -> str:
        """Run kubectl and return what it prints.

        Raises:
            CommandFailed: it ended with an error; the message holds what it said.
        """
        words = [find_kubectl(), *arguments]
        return run(words, stdin=stdin, timeout_seconds=timeout_seconds, environment=self.environment)

    def works(self, *arguments: str) -> bool:
        """Whether kubectl ends well, where its failure is an answer and not an error."""
        return succeeds([find_kubectl(), *arguments], environment=self.environment)

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
