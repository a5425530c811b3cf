"""What the demo shows: the samples applied, their agents ready, one question answered while you watch."""

import base64
import contextlib
import json
import socket
import subprocess
import time
from collections.abc import Iterator

import httpx

from syntera_dev.errors import ComponentFailed
from syntera_dev.paths import REPOSITORY
from syntera_dev.progress import say, step

from .kubectl import Kubectl

SAMPLES = REPOSITORY / "manifests" / "samples"
TENANT = "acme"
NAMESPACE = "acme"
AGENT = "travel"
QUESTION = "Where is my booking TR-2041?"


def apply_samples(kubectl: Kubectl) -> None:
    """`kubectl apply -f manifests/samples/`, and wait until the tenant and its agents serve."""
    with step("kubectl apply -f manifests/samples/"):
        kubectl("apply", "-f", str(SAMPLES))
    for kind, arguments in (("tenants", [TENANT]), ("agents", ["--all", "-n", NAMESPACE])):
        with step(f"{kind} are Ready"):
            kubectl("wait", "--for=condition=Ready", kind, *arguments, "--timeout=180s", timeout_seconds=190)


def ask(kubectl: Kubectl) -> None:
    """Ask the sample agent through its Service and print the answer as it arrives."""
    key = api_key(kubectl, NAMESPACE)
    with port_forward(kubectl, NAMESPACE) as url:
        body = {"model": AGENT, "stream": True, "messages": [{"role": "user", "content": QUESTION}]}
        print(f"\n  you    {QUESTION}\n  {AGENT} ", end="", flush=True)
        with httpx.stream(
            "POST", f"{url}/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {key}"}, timeout=60
        ) as response:
            response.raise_for_status()
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    for choice in json.loads(line.removeprefix("data: "))["choices"]:
                        print(choice["delta"].get("content") or "", end="", flush=True)
        print("\n")


def api_key(kubectl: Kubectl, namespace: str) -> str:
    """The first administrator's key of the tenant in `namespace`."""
    data = kubectl.get("secret", "syntera-admin", "-n", namespace)["data"]
    return base64.b64decode(data["api-key"]).decode()


@contextlib.contextmanager
def port_forward(
    kubectl: Kubectl, namespace: str, *, service: str = "syntera-runtime", port: int = 80, path: str = ""
) -> Iterator[str]:
    """Yield a base URL on loopback that leads to a Service, also where the cluster's network is elsewhere."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        local = probe.getsockname()[1]
    words = [*kubectl.words, "port-forward", "-n", namespace, f"service/{service}", f"{local}:{port}"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            _wait_listening(process, local)
            yield f"http://127.0.0.1:{local}{path}"
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
    program = kubectl.program.relative_to(REPOSITORY) if kubectl.program.is_relative_to(REPOSITORY) else kubectl.program
    say(f"""Syntera is up. The answer came from an offline stand-in for a model: it repeats, it does not think.

  export KUBECONFIG={kubectl.kubeconfig}
  {program.with_name("syntera")} chat {AGENT} -n {NAMESPACE}       chat with the agent
  {program} get syntera -A             what there is, and whether it is ready
  {program} edit agent {AGENT} -n {NAMESPACE}      change it; the change is live in a moment
  {program} explain tenant.spec             what can be said

A real model: put your key into manifests/samples/openai/, apply that folder, and name the endpoint `openai` in an Agent.
Remove everything: make demo-down""")
