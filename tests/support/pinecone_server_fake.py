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
        if self.answers:
            status, headers = self.answers.pop(0)
            return web.json_response({"code": 13, "message": "as told", "details": []}, status=status, headers=headers)
        if request.headers.get("Api-Key") != KEY:
            return web.Response(status=401, text="Invalid API Key")
        if request.headers.get("X-Pinecone-Api-Version") != FACTS["version"]:
            return _refuse("another version of the API")
        facts = FACTS["operations"].get(operation)
        if facts is None:
            return web.json_response(
                {"code": 5, "message": f"no such operation: {operation}", "details": []}, status=404
            )
        faults = [fault.message for fault in Draft202012Validator(facts["request"]).iter_errors(content)]
        if faults:
            return _refuse("; ".join(faults))
        answer = self._do(operation, content)
        if isinstance(answer, web.Response):
            return answer
        Draft202012Validator(facts["response"]).validate(answer)
        return web.json_response(answer)

    def _do(self, operation: str, content: dict[str, Any]) -> dict[str, Any] | web.Response:
        namespace = content.get("namespace", "")
        match operation:
            case "POST /vectors/upsert":
                return self._upsert(namespace, content["vectors"])
            case "POST /query":
                return self._query(namespace, content["vector"], content["topK"])
            case "GET /vectors/fetch":
                kept = self.namespaces.get(namespace, {})
                found = {key: {"id": key, "values": kept[key]} for key in content["ids"] if key in kept}
                return {"vectors": found, "namespace": namespace, "usage": {"readUnits": 1}}
            case "GET /vectors/list":
                return self._list(namespace, content.get("paginationToken", ""), content.get("limit", 100))
            case "POST /vectors/delete":
                for key in content.get("ids", []):
                    self.namespaces.get(namespace, {}).pop(key, None)
                return {}
        if namespace not in self.namespaces:
            return web.json_response({"code": 5, "message": "Namespace not found", "details": []}, status=404)
        del self.namespaces[namespace]
        return {}

    def _upsert(self, namespace: str, vectors: list[dict[str, Any]]) -> dict[str, Any] | web.Response:
        if any(len(vector["values"]) != self.dimensions for vector in vectors):
            return _refuse("Vector dimension does not match the dimension of the index")
        self.namespaces[namespace].update({vector["id"]: vector["values"] for vector in vectors})
        return {"upsertedCount": len(vectors)}

    def _query(self, namespace: str, content: dict[str, Any]) -> dict[str, Any]:
        vector, top = content["vector"], content["topK"]
        scored = [
            {"id": key, "score": _compare(kept, vector)} for key, kept in self.namespaces.get(namespace, {}).items()
        ]
        matches = sorted(scored, key=lambda match: match["score"], reverse=True)[:top]
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
