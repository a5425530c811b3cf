"""A thin asynchronous Kubernetes client: verbs over one HTTP session, typed errors, mirrors of watched objects.

It knows nothing of Syntera, and its objects are plain dictionaries.
"""

from .client import KubeClient
from .comparison import find_missed
from .config import ClusterConfig, ConfigError
from .model import Manifest, ObjectList, Selection, ServiceAccountToken, WatchEvent
from .reflector import Reflector
from .resources import Resource
from .store import Change, ObjectStore
from .transport import BeforeWrite, Transport

__all__ = [
    "BeforeWrite",
    "Change",
    "ClusterConfig",
    "ConfigError",
    "KubeClient",
    "Manifest",
    "ObjectList",
    "ObjectStore",
    "Reflector",
    "Resource",
    "Selection",
    "ServiceAccountToken",
    "Transport",
    "WatchEvent",
    "find_missed",
]
