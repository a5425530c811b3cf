"""The resources of Syntera and what its parts agree on: pydantic models, and nothing that talks to anything.

`v1alpha1` holds the kinds that people write, `contract` what the operator and a tenant's runtime say to each other.
This package imports nothing of ours and no client library.
"""

__version__ = "0.1.0"
"""Of the whole distribution; read from here also where it is not installed as one, as in the images."""
