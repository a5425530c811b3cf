"""A fake of Pinecone's data plane over HTTP: keeps vectors in memory and searches them exactly.

It is no Pinecone: what is written is there at once, and it knows neither metadata nor sparse vectors. What it takes and answers
is checked by `tests/data/pinecone/operations.json`, facts of Pinecone's OpenAPI description.
"""

import asyncio
import json
import math
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from jsonschema import Draft202012Validator

FACTS = json.loads((Path(__file__).parents[1] / "data" / "pinecone" / "operations.json").read_text())
KEY = "pcsk_right"


class _Refused(Exception):
    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


@dataclass(slots=True)
class PineconeFake:
    """What the server holds, and how it shall behave."""

    url: str = ""
    dimensions: int = 4
    namespaces: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(dict))
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Operation and content of each."""
    answers: list[tuple[int, Mapping[str, str]]] = field(default_factory=list)
    """Statuses and headers of errors that it answers the next requests with."""
    pause_seconds: float = 0

    def count(self, operation: str) -> int:
        """How often an operation was asked for."""
        return sum(asked == operation for asked, _ in self.requests)

    async def answer(self, request: web.Request) -> web.Response:
        """Any request."""
        await asyncio.sleep(self.pause_seconds)
        operation, content = await _read(request)
        self.requests.append((operation, content))
        try:
            if self.answers:
                status, headers = self.answers.pop(0)
                raise _Refused(status, "as told", headers)
            return web.json_response(self._answer(request.headers, operation, content))
        except _Refused as refused:
            body = {"code": 3, "message": refused.message, "details": []}
            return web.json_response(body, status=refused.status, headers=refused.headers)

    def _answer(self, headers: Mapping[str, str], operation: str, content: dict[str, Any]) -> dict[str, Any]:
        if headers.get("Api-Key") != KEY:
            raise _Refused(401, "Invalid API Key")
        if headers.get("X-Pinecone-Api-Version") != FACTS["version"]:
            raise _Refused(400, "another version of the API")
        facts = FACTS["operations"].get(operation)
        if facts is None:
            raise _Refused(404, f"no such operation: {operation}")
        faults = [fault.message for fault in Draft202012Validator(facts["request"]).iter_errors(content)]
        if faults:
            raise _Refused(400, "; ".join(faults))
        work = {
            "POST /vectors/upsert": self._upsert,
            "POST /query": self._query,
            "GET /vectors/fetch": self._fetch,
            "GET /vectors/list": self._list,
            "POST /vectors/delete": self._delete,
            "DELETE /namespaces/{namespace}": self._delete_namespace,
        }
        answer = work[operation](content.get("namespace", ""), content)
        Draft202012Validator(facts["response"]).validate(answer)
        return answer

    def _fetch(self, namespace: str, content: dict[str, Any]) -> dict[str, Any]:
        kept = self.namespaces.get(namespace, {})
        found = {key: {"id": key, "values": kept[key]} for key in content["ids"] if key in kept}
        return {"vectors": found, "namespace": namespace, "usage": {"readUnits": 1}}

    def _delete(self, namespace: str, content: dict[str, Any]) -> dict[str, Any]:
        for key in content.get("ids", []):
            self.namespaces.get(namespace, {}).pop(key, None)
        return {}

    def _delete_namespace(self, namespace: str, _content: dict[str, Any]) -> dict[str, Any]:
        if namespace not in self.namespaces:
            raise _Refused(404, "Namespace not found")
        del self.namespaces[namespace]
        return {}

    def _upsert(self, namespace: str, content: dict[str, Any]) -> dict[str, Any]:
        vectors = content["vectors"]
        if any(len(vector["values"]) != self.dimensions for vector in vectors):
            raise _Refused(400, "Vector dimension does not match the dimension of the index")
        self.namespaces[namespace].update({vector["id"]: vector["values"] for vector in vectors})
        return {"upsertedCount": len(vectors)}

    def _query(self, namespace: str, content: dict[str, Any]) -> dict[str, Any]:
        vector, top = content["vector"], content["topK"]
        kept = self.namespaces.get(namespace, {})
        scored = sorted(((_compare(values, vector), key) for key, values in kept.items()), reverse=True)
        matches = [{"id": key, "score": score} for score, key in scored[:top]]
        return {"matches": matches, "namespace": namespace, "usage": {"readUnits": 1}}

    def _list(self, namespace: str, content: dict[str, Any]) -> dict[str, Any]:
        after, limit = content.get("paginationToken", ""), content.get("limit", 100)
        listed = [key for key in sorted(self.namespaces.get(namespace, {})) if key > after]
        page: dict[str, Any] = {"vectors": [{"id": key} for key in listed[:limit]], "namespace": namespace}
        if len(listed) > limit:
            page["pagination"] = {"next": listed[limit - 1]}
        return page


@asynccontextmanager
async def serve_pinecone_fake() -> AsyncIterator[PineconeFake]:
    """The fake, on a free port of this machine."""
    fake = PineconeFake()
    app = web.Application(client_max_size=2 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", fake.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        fake.url = f"http://{host}:{port}"
        yield fake
    finally:
        await runner.cleanup()


async def _read(request: web.Request) -> tuple[str, dict[str, Any]]:
    path = request.path
    if path.startswith("/namespaces/"):
        return f"{request.method} /namespaces/{{namespace}}", {"namespace": path.removeprefix("/namespaces/")}
    if request.method == "GET":
        content: dict[str, Any] = {name: value for name, value in request.query.items() if name != "ids"}
        if "ids" in request.query:
            content["ids"] = request.query.getall("ids")
        if "limit" in content:
            content["limit"] = int(content["limit"])
        return f"GET {path}", content
    return f"{request.method} {path}", await request.json()


def _compare(left: list[float], right: list[float]) -> float:
    lengths = math.hypot(*left) * math.hypot(*right)
    return sum(a * b for a, b in zip(left, right, strict=True)) / lengths if lengths else 0.0
