"""Serve the stand-in: `python -m syntera_dev.models`, set up by `SYNTERA_MODELS_...` variables."""

import uvicorn

from syntera_dev.models.app import create_app
from syntera_dev.models.settings import ServerSettings


def main() -> None:
    """Serve until a signal ends it; unfinished answers get five seconds."""
    settings = ServerSettings()
    uvicorn.run(
        create_app(settings.behaviour()),
        host=settings.host,
        port=settings.port,
        log_level="warning",
        timeout_graceful_shutdown=5,
    )


if __name__ == "__main__":
    main()
