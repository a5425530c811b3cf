"""The tenants' stores: what each tenant holds in PostgreSQL and Redis, and the schema that PostgreSQL has to have.

`TenantStores` is what the operator works with. This package knows nothing of Kubernetes. It imports nothing of ours here, so
that `python -m syntera_operator.stores.migrate` loads only what migrations need; redis-py, which all of it needs, is imported
here, because how matters.
"""

import importlib
import sys

_TELEMETRY = ("opentelemetry.metrics", "opentelemetry.sdk.metrics")


def _import_redis_without_telemetry() -> None:
    """Import redis-py as if OpenTelemetry were not installed.

    Expected: its telemetry, which is off unless somebody switches it on, costs nothing. Actual (redis-py 8.1): it imports
    OpenTelemetry's metrics SDK wherever that is installed, 2.7 MiB of every operator. See `redis/observability/providers.py`
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


_import_redis_without_telemetry()
