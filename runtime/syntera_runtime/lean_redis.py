"""redis-py without what it would bring along. Whoever imports it, or a library that does, calls `import_redis` first."""

import importlib
import sys

_TELEMETRY = ("opentelemetry.metrics", "opentelemetry.sdk.metrics")


def import_redis() -> None:
    """Import redis-py as if OpenTelemetry were not installed.

    Expected: its telemetry, which is off unless somebody switches it on, costs nothing. Actual (redis-py 8.1): it imports
    OpenTelemetry's metrics SDK wherever that is installed, some MiB of every process. See `redis/observability/providers.py`
    in https://github.com/redis/redis-py.
    """
    hidden = [name for name in _TELEMETRY if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # as the import system spells "there is none"
    try:
        importlib.import_module("redis.asyncio")
    finally:
        for name in hidden:
            del sys.modules[name]
