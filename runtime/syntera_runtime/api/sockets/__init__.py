"""Socket.IO: the events of conversations, and what people do in them, over one connection that stays open.

The catalogue is documented in `docs/reference/socketio.md`.
"""

from ...lean_redis import import_redis

import_redis()  # python-socketio imports redis-py, whether it uses it or not
