"""What `helm test` runs in the operator's image: are the kinds served, and does an operator hold the Lease?

Takes the folder with token, certificate and namespace as its argument. Standard library only, because it stands outside
of every package. An installation that is still starting gets a minute.
"""

import http.client
import json
import os
import ssl
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

GROUP_VERSION = "/apis/syntera.io/v1alpha1"
KINDS = {"tenants", "agents", "knowledgebases"}
LEASE = "operator.syntera.io"
DEADLINE_SECONDS = 60


class NotYetError(Exception):
    """Something is missing that may still come."""


def get(path: str, credentials: Path) -> dict[str, Any]:
    """One object of the API server.

    Raises:
        NotYetError: the API server has no such thing, or does not answer.
    """
    host = os.environ["KUBERNETES_SERVICE_HOST"]
    port = int(os.environ["KUBERNETES_SERVICE_PORT"])
    context = ssl.create_default_context(cafile=str(credentials / "ca.crt"))
    connection = http.client.HTTPSConnection(host, port, timeout=10, context=context)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {(credentials / 'token').read_text()}"})
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as exc:
        raise NotYetError(f"GET {path} failed: {exc}") from exc
    finally:
        connection.close()
    if answer.status != 200:
        raise NotYetError(f"GET {path} was answered with status {answer.status}")
    found: dict[str, Any] = json.loads(body)
    return found


def check(credentials: Path) -> str:
    """Look at the installation once and say what is there.

    Raises:
        NotYetError: it is not complete.
    """
    served = {resource["name"] for resource in get(GROUP_VERSION, credentials)["resources"]}
    if missing := KINDS - served:
        raise NotYetError(f"the API server does not serve {', '.join(sorted(missing))}")
    namespace = (credentials / "namespace").read_text()
    lease = get(f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{LEASE}", credentials)["spec"]
    holder, renewed = lease.get("holderIdentity"), lease.get("renewTime")
    if not holder or not renewed:
        raise NotYetError(f"nobody holds the Lease {LEASE!r}")
    age = datetime.now(UTC) - datetime.fromisoformat(renewed)
    if age > timedelta(seconds=lease["leaseDurationSeconds"]):
        raise NotYetError(f"{holder!r} renewed the Lease {LEASE!r} {age.total_seconds():.0f} seconds ago and not since")
    return f"Tenants and Agents are served, and {holder!r} is the active operator."


def main(credentials: Path, *, deadline_seconds: float = DEADLINE_SECONDS) -> int:
    """Look until all is there or the time is up, and return the exit code."""
    deadline = time.monotonic() + deadline_seconds
    while True:
        try:
            sys.stdout.write(check(credentials) + "\n")
        except NotYetError as exc:
            if time.monotonic() > deadline:
                sys.stderr.write(f"{exc}\n")
                return 1
        else:
            return 0
        time.sleep(1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
