"""The certificates of the system, which TLS connections to public servers are checked with."""

import functools
import ssl


@functools.cache
def public_trust() -> ssl.SSLContext:
    """The system's certificates; reading them takes some 25 ms, so all clients share them."""
    return ssl.create_default_context()
