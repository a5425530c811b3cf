"""What the demo shows: the samples applied, their agents ready, documents taken in, questions answered while you watch."""

import base64
import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from syntera_dev.cluster.target import find_kubectl
from syntera_dev.errors import ComponentFailed
from syntera_dev.paths import REPOSITORY
from syntera_dev.progress import say, step

from .kubectl import Kubectl

SAMPLES = REPOSITORY / "manifests" / "samples"
TENANT = "acme"
NAMESPACE = "acme"
AGENT = "travel"
KNOWLEDGE_BASE = "help-center"
QUESTIONS = ("May small dogs travel in the cabin?", "Was kostet es, ein Fahrrad mitzunehmen?")


def apply_samples(kubectl: Kubectl) -> None:
    """`kubectl apply -f manifests/samples/`, and wait until the tenant and its agents serve and all documents are taken in."""
    with step("kubectl apply -f manifests/samples/"):
        kubectl("apply", "-f", str(SAMPLES))
    in_namespace = ["--all", "-n", NAMESPACE]
    for kind, arguments in (("tenants", [TENANT]), ("agents", in_namespace), ("knowledgebases", in_namespace)):
        with step(f"{kind} are Ready"):
            kubectl("wait", "--for=condition=Ready", kind, *arguments, "--timeout=180s", timeout_seconds=190)
    status = kubectl.get("knowledgebase", KNOWLEDGE_BASE, "-n", NAMESPACE)["status"]
    say(f"  {KNOWLEDGE_BASE} has {status['documents']['indexed']} documents, {status['chunks']} chunks")


def ask(kubectl: Kubectl) -> None:
    """Ask the sample agent through its Service and print its answers as they arrive, with what they cite."""
    key = api_key(kubectl, NAMESPACE)
    with (
        port_forward(kubectl, NAMESPACE) as url,
        httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client,
    ):
        for question in QUESTIONS:
            print(f"\n  you    {question}\n  {AGENT} ", end="", flush=True)
            cited = [describe_citation(citation) for citation in _print_answer(client, question)]
            print("\n")
            for line in cited:
                print(f"         {line}")
        print()


def _print_answer(client: httpx.Client, question: str) -> list[dict[str, Any]]:
    """Print the answer; return its citations."""
    body = {"model": AGENT, "stream": True, "messages": [{"role": "user", "content": question}]}
    citations: list[dict[str, Any]] = []
    with client.stream("POST", "/v1/chat/completions", json=body) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if line.startswith("data: {"):
                for choice in json.loads(line.removeprefix("data: "))["choices"]:
                    print(choice["delta"].get("content") or "", end="", flush=True)
                    citations += choice["delta"].get("citations") or []
    return citations


def describe_citation(citation: Mapping[str, Any]) -> str:
    """What a number in an answer stands for, on one line."""
    title, headings = citation["title"], citation["headings"]
    place = " > ".join((title, *(heading for heading in headings if heading != title)))
    return f"[{citation['number']}] {place} ({citation['source']}: {citation['path']})"


def api_key(kubectl: Kubectl, namespace: str) -> str:
    """The first administrator's key of the tenant in `namespace`."""
    data = kubectl.get("secret", "syntera-admin", "-n", namespace)["data"]
    return base64.b64decode(data["api-key"]).decode()


@contextlib.contextmanager
def port_forward(
    kubectl: Kubectl, namespace: str, *, service: str = "syntera-runtime", pod: str | None = None, port: int = 80
) -> Iterator[str]:
    """Yield a base URL on loopback that leads to a Service or to one pod, also where the cluster's network is elsewhere."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        local = probe.getsockname()[1]
    target = f"service/{service}" if pod is None else f"pod/{pod}"
    words = [find_kubectl(), "port-forward", "-n", namespace, target, f"{local}:{port}"]
    environment = {**os.environ, **kubectl.environment}
    with subprocess.Popen(
        words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            _wait_listening(process, local)
            yield f"http://127.0.0.1:{local}"
        finally:
            process.terminate()


def _wait_listening(process: "subprocess.Popen[str]", port: int, *, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            said = process.stderr.read() if process.stderr else ""
            raise ComponentFailed(f"kubectl port-forward ended: {said.strip()}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise ComponentFailed(f"kubectl port-forward did not listen within {seconds:.0f} s")


def say_what_next(kubectl: Kubectl) -> None:
    """What to type to go on."""
    folder = _shown(Path(find_kubectl()).parent)
    say(f"""Syntera is up. The answers came from an offline stand-in for a model: it repeats, it does not think. What it repeats
was found by a real embedding model, and by words.

  export KUBECONFIG={kubectl.kubeconfig}
  {folder}/syntera chat {AGENT} -n {NAMESPACE}     chat with the agent
  {folder}/kubectl get syntera -A          what there is, and whether it is ready
  {folder}/kubectl edit agent {AGENT} -n {NAMESPACE}   change it; the change is live in a moment
  {folder}/kubectl edit configmap {KNOWLEDGE_BASE} -n {NAMESPACE}   change what it knows; a sync takes some seconds
  {folder}/kubectl explain tenant.spec      what can be said

A real model: manifests/samples/openai/README.md says how to point the tenant at OpenAI.
Remove everything: make demo-down""")


def _shown(folder: Path) -> Path:
    """A path as short as it can be typed from the checkout."""
    return folder.relative_to(REPOSITORY) if folder.is_relative_to(REPOSITORY) else folder
