"""Probes and metrics, on the internal port."""

from fastapi import APIRouter, Response, status
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from .context import ServicesOfRequest

router = APIRouter()


@router.get("/healthz")
async def healthz() -> PlainTextResponse:
    """Whether the event loop turns: that there is an answer is the answer."""
    return PlainTextResponse("ok")


@router.get("/readyz")
async def readyz(services: ServicesOfRequest) -> PlainTextResponse:
    """Whether the process should get work."""
    if services.is_ready:
        return PlainTextResponse("ok")
    reason = "draining" if services.lifecycle.is_draining else "the configuration is not loaded yet"
    return PlainTextResponse(reason, status_code=status.HTTP_503_SERVICE_UNAVAILABLE)


@router.get("/metrics")
async def metrics(services: ServicesOfRequest) -> Response:
    """Everything that is counted, for Prometheus."""
    return Response(services.metrics.render(), media_type=CONTENT_TYPE_LATEST)
