"""Redis as the tenant's own ACL user."""

from ...lean_redis import import_redis

import_redis()
