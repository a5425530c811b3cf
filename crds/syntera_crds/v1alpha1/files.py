"""The part of a Tenant that says how large files may be that people send, and where they are kept."""

from typing import Annotated

from pydantic import Field

from .common import HttpURL, Model, ObjectName
from .rules import matching

ACCESS_KEY_ID = "access-key-id"
SECRET_ACCESS_KEY = "secret-access-key"

Region = Annotated[
    str,
    Field(min_length=1, max_length=64),
    matching("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "must be lower-case letters, digits and '-', such as eu-central-1"),
]
BucketName = Annotated[
    str,
    Field(min_length=3, max_length=63),
    matching(
        "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$",
        "must be lower-case letters, digits, '-' and '.', and begin and end with a letter or digit",
    ),
]
ObjectPrefix = Annotated[
    str,
    Field(min_length=1, max_length=512),
    matching(
        "^[-_.a-zA-Z0-9]*[-_a-zA-Z0-9][-_.a-zA-Z0-9]*(/[-_.a-zA-Z0-9]*[-_a-zA-Z0-9][-_.a-zA-Z0-9]*)*$",
        "must be names of letters, digits, '-', '_' and '.' with '/' between them, none of dots alone, such as"
        " syntera/acme",
    ),
]


class S3CredentialsRef(Model):
    """A Secret in the tenant's namespace that carries the label `syntera.io/usable: "true"`, with the entries
    `access-key-id` and `secret-access-key`."""

    name: ObjectName
    """Name of the Secret."""


class S3(Model):
    """A bucket of a server that speaks the S3 protocol."""

    endpoint_url: HttpURL
    """Where the server answers, without the bucket's name, for example `https://s3.eu-central-1.amazonaws.com` or
    `http://minio.storage.svc:9000`."""
    region: Region = "us-east-1"
    """Region that requests are signed for. Default `us-east-1`, which servers other than Amazon's mostly take."""
    bucket: BucketName
    """Name of the bucket, which must exist."""
    prefix: ObjectPrefix | None = None
    """What the names of all objects begin with, a `/` follows by itself. Left out: nothing. Tenants that share a bucket
    do not meet: the tenant's UUID is the next part of each name."""
    credentials_secret_ref: S3CredentialsRef
    """Who reads, writes and deletes the objects."""


class Files(Model):
    """Files that people send with their messages."""

    max_megabytes: Annotated[int, Field(ge=1, le=100)] = 10
    """How large one file may be, in MiB. Default 10. What stands in front of the API has bounds of its own: an Ingress of
    nginx takes 1 MB unless it is told otherwise."""
    s3: S3 | None = None
    """Keep new files in a bucket. Left out: PostgreSQL keeps them. Files stay where they were put: moved objects are not
    looked for, and without this nobody gets those in a bucket."""
