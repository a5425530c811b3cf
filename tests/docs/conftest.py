"""A tenant's API on real stores for the programs in the documentation."""

from tests.runtime.client.conftest import Api, api, site

__all__ = ["Api", "api", "site"]
