"""Where the documents of a KnowledgeBase come from."""

from typing import Annotated

from pydantic import Field

from ..contract.knowledge_config import Audience
from .common import HOST_LABEL, PATH, PORT, Model, Name, ObjectName
from .files import BucketName, ObjectPrefix, Region, S3CredentialsRef
from .rules import Rule, matching

USERNAME = "username"
PASSWORD = "password"

MAX_SOURCES = 32

_MAX_URL_LENGTH = 512
"""What the API server lets rules on so many URLs cost depends on it."""


_HOST = rf"{HOST_LABEL}(\.{HOST_LABEL})*(:({PORT}))?"
PageURL = Annotated[
    str,
    Field(min_length=1, max_length=_MAX_URL_LENGTH),
    matching(
        rf"^https?://{_HOST}(/{PATH}(\?{PATH})?)?$",
        "must be a URL such as https://www.acme.example/help: http or https, a host, and at most a port, a path and a query",
    ),
]
RepositoryURL = Annotated[
    str,
    Field(min_length=1, max_length=_MAX_URL_LENGTH),
    matching(
        rf"^https://{_HOST}/{PATH}$",
        "must be a URL such as https://git.example/acme/docs.git: https, a host, at most a port, and a path; what logs in"
        " belongs into credentialsSecretRef",
    ),
]
ServerURL = Annotated[
    str,
    Field(min_length=1, max_length=_MAX_URL_LENGTH),
    matching(
        rf"^https?://{_HOST}(/{PATH})?$",
        "must be a URL such as https://s3.eu-central-1.amazonaws.com: http or https, a host, and at most a port and a path",
    ),
]
Ref = Annotated[
    str,
    Field(min_length=1, max_length=255),
    matching(
        r"^[._/a-zA-Z0-9][-+@._/a-zA-Z0-9]*$",
        "must be a branch, a tag or a commit: letters, digits, '-', '+', '@', '_', '.' and '/', and must not begin with '-'",
    ),
]
Glob = Annotated[str, Field(min_length=1, max_length=256)]
Globs = Annotated[list[Glob], Field(max_length=32)]
Tag = Annotated[str, Field(min_length=1, max_length=64)]


class Inline(Model):
    """A text that stands in the KnowledgeBase itself."""

    title: Annotated[str, Field(min_length=1, max_length=256)]
    """What answers cite it by."""
    text: Annotated[str, Field(min_length=1, max_length=65536)]
    """Markdown or plain text. Longer ones belong into a ConfigMap."""


class ConfigMapSource(Model):
    """Every entry of a ConfigMap is a document. A change of it is taken in at once."""

    name: ObjectName
    """Name of a ConfigMap in the tenant's namespace. An entry's key is its path, and the ending of that (`.md`, `.html`,
    `.pdf`) says what it is."""


class Web(Model):
    """Pages of websites, read as their robots.txt allows."""

    rules = (
        Rule(
            "(has(self.urls) && self.urls.size() > 0) || has(self.sitemap)",
            "set urls, sitemap or both",
            holds=lambda web: bool(web.urls) or web.sitemap is not None,
        ),
    )

    urls: Annotated[list[PageURL], Field(max_length=16)] = []
    """Where to begin; links are followed on the same hosts. Hosts that are not public must stand in the Tenant's
    `spec.egress`. Left out: the pages of the sitemap alone."""
    sitemap: PageURL | None = None
    """A sitemap, or an index of sitemaps, whose pages are taken. Left out: none."""
    max_pages: Annotated[int, Field(ge=1, le=20_000)] = 200
    """Pages at most. Default 200."""
    max_depth: Annotated[int, Field(ge=0, le=20)] = 3
    """How many links lead from a page in `urls` to another one at most; 0: those pages alone. Default 3."""
    include: Globs = []
    """Which paths are taken, for example `/docs/**`. Left out: all."""
    exclude: Globs = []
    """Which of them are not. Left out: none."""
    requests_per_second: Annotated[float, Field(ge=0.1, le=20)] = 2.0
    """For each host, unless its robots.txt asks for longer pauses. Default 2."""


class GitCredentialsRef(Model):
    """A Secret in the tenant's namespace that carries the label `syntera.io/usable: "true"`, with the entries `username` and
    `password`; the password may be a token."""

    name: ObjectName
    """Name of the Secret."""


class Git(Model):
    """Files of a git repository."""

    url: RepositoryURL
    """Where it is cloned from, by https. A host that is not public must stand in the Tenant's `spec.egress`."""
    ref: Ref | None = None
    """Branch, tag or commit. Left out: the default branch."""
    paths: Globs = []
    """Which files are taken, for example `docs/**/*.md`. Left out: all of a format that can be read."""
    credentials_secret_ref: GitCredentialsRef | None = None
    """Who reads it. Left out: the repository is public."""


class S3Source(Model):
    """Objects of a bucket of a server that speaks the S3 protocol."""

    endpoint_url: ServerURL
    """Where the server answers, without the bucket's name. A host that is not public must stand in the Tenant's
    `spec.egress`."""
    region: Region = "us-east-1"
    """Region that requests are signed for. Default `us-east-1`, which servers other than Amazon's mostly take."""
    bucket: BucketName
    """Name of the bucket."""
    prefix: ObjectPrefix | None = None
    """What the names of the objects begin with; a `/` follows by itself. Left out: all objects."""
    include: Globs = []
    """Which objects are taken, by what follows the prefix, for example `**/*.pdf`. Left out: all of a format that can be
    read."""
    credentials_secret_ref: S3CredentialsRef
    """Who lists and reads the objects."""


class Upload(Model):
    """Files that people upload through the API."""

    max_file_megabytes: Annotated[int, Field(ge=1, le=64)] = 25
    """How large one file may be, in MiB. Default 25."""


_KINDS = ("inline", "configMap", "web", "git", "s3", "upload")


class Source(Model):
    """Where documents come from."""

    rules = (
        Rule(
            f"[{', '.join(f'has(self.{kind})' for kind in _KINDS)}].filter(given, given).size() == 1",
            f"set exactly one of {', '.join(_KINDS[:-1])} and {_KINDS[-1]}",
            holds=lambda source: sum(one is not None for one in source.kinds()) == 1,
        ),
    )

    name: Name
    """How documents, failures and filters name the source. Under another name all of its documents are other ones."""
    audience: Annotated[
        list[Annotated[Audience, Field(strict=False)]], Field(min_length=1, max_length=len(Audience))
    ] = [Audience.PUBLIC]
    """Who may be answered from its documents. `public` (default): everybody. `authenticated`: people who signed in.
    `member`, `admin`, `owner`: the tenant's own people of that role and the roles above it."""
    tags: Annotated[list[Tag], Field(max_length=16)] = []
    """What its documents can be filtered by. Left out: nothing."""
    language: (
        Annotated[
            str,
            Field(min_length=2, max_length=2),
            matching("^[a-z]{2}$", "must be two lower-case letters such as en or de (ISO 639-1)"),
        ]
        | None
    ) = None
    """Language of its documents, which words are searched by. Left out: found out for each document."""
    inline: Inline | None = None
    """A text that stands here. Left out: another kind is set."""
    config_map: ConfigMapSource | None = None
    """The entries of a ConfigMap. Left out: another kind is set."""
    web: Web | None = None
    """Pages of websites. Left out: another kind is set."""
    git: Git | None = None
    """Files of a git repository. Left out: another kind is set."""
    s3: S3Source | None = None
    """Objects of a bucket. Left out: another kind is set."""
    upload: Upload | None = None
    """Files that are uploaded through the API. Left out: another kind is set."""

    def kinds(self) -> tuple[Model | None, ...]:
        """The fields of which exactly one is set."""
        return self.inline, self.config_map, self.web, self.git, self.s3, self.upload
