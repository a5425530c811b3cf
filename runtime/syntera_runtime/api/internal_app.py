"""The app of the internal port: probes, metrics, and what the operator asks. Only the cluster may reach it."""

from fastapi import FastAPI

from ..services import Services
from . import health
from .app import NO_TELEMETRY, assemble
from .internal import router as operator_router


def build_internal_app(services: Services) -> FastAPI:
    """The app of the internal port."""
    app = FastAPI(openapi_url=None, redirect_slashes=False, telemetry=NO_TELEMETRY)
    return assemble(app, services, (health.router, operator_router), port="internal")
