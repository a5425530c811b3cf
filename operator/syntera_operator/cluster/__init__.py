"""All that the operator asks of Kubernetes: watched views, reads, and writes that change only what differs."""

from .cluster import Cluster
from .model import ObjectRef, Owner, Reference, SecretView

__all__ = ["Cluster", "ObjectRef", "Owner", "Reference", "SecretView"]
