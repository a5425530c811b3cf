"""What the operator publishes for a Tenant and its runtime acts by: whom to trust and how much to take, without secrets."""

from .agent_config import EndpointAccess, SecretKey
from .published import Published


class TokenIssuer(Published):
    """Somebody whose signed tokens (JWT) say who a person is."""

    issuer: str
    """The `iss` of its tokens, compared exactly."""
    audiences: list[str]
    """At least one; a token must be meant for one of them."""
    jwks_url: str
    """Where its public keys are (a JSON Web Key Set)."""
    algorithms: list[str]
    """At least one; a token signed by another algorithm is refused. Asymmetric ones only."""
    role_claim: str | None = None
    """Path of the claim that holds a person's role among the tenant's own people, parts separated by dots. None: the
    issuer's people are all customers."""
    ca_bundle: str | None = None
    """PEM certificates to trust for `jwks_url` instead of the public ones."""


class ChallengeConfig(Published):
    """A challenge that browsers solve before there is a new visitor."""

    verify_url: str
    """Where the provider says whether a response is right."""
    secret: SecretKey
    hostnames: list[str] = []
    """Hosts of pages on which it may have been solved. Empty: any."""


class Limits(Published):
    """How much the API takes, and how many tokens may be used. None: no limit."""

    requests_per_minute: int | None = None
    requests_per_minute_per_key: int | None = None
    requests_per_minute_per_address: int | None = None
    messages_per_minute_per_user: int | None = None
    concurrent_streams: int | None = None
    concurrent_streams_per_user: int | None = None
    tokens_per_month: int | None = None
    tokens_per_user_per_day: int | None = None
    soft_limit_percent: int = 80
    """From this part of a limit on tokens or turns on, agents do what they do where it is nearly reached."""


class S3Config(Published):
    """A bucket of a server that speaks the S3 protocol."""

    endpoint: str
    region: str
    bucket: str
    prefix: str = ""
    """What the names of all objects begin with; a `/` follows where it is not empty."""
    access_key_id: SecretKey
    secret_access_key: SecretKey


class FilesConfig(Published):
    """Files that people send."""

    max_megabytes: int = 10
    """How large one may be, in MiB."""
    s3: S3Config | None = None
    """Where new ones are kept; None: in PostgreSQL."""


class Egress(Published):
    """What the runtime may connect to by a URL that somebody else has written, beside public hosts by https."""

    hosts: list[str] = []
    """Names of hosts."""
    networks: list[str] = []
    """Ranges of addresses (CIDR)."""


class TenantConfig(Published):
    """Everything a runtime needs to know of its Tenant."""

    name: str
    display_name: str
    issuers: list[TokenIssuer] = []
    allowed_origins: list[str] = []
    """Origins of websites, `scheme://host[:port]`, whose pages may call the API from a browser."""
    challenge: ChallengeConfig | None = None
    """None: new visitors have none to solve."""
    limits: Limits = Limits()
    trusted_proxies: list[str] = []
    """Ranges of addresses (CIDR) whose `X-Forwarded-For` is believed."""
    egress: Egress = Egress()

    files: FilesConfig = FilesConfig()
    endpoints: list[EndpointAccess] = []
    """The model endpoints that can be reached. Agents and knowledge bases name their own with all that it takes; by these an index is
    searched that was made with another one."""

    def secret_keys(self) -> frozenset[SecretKey]:
        """Entries of Secrets that the runtime must be able to read."""
        s3, challenge = self.files.s3, self.challenge
        of_bucket = () if s3 is None else (s3.access_key_id, s3.secret_access_key)
        of_endpoints = (key for endpoint in self.endpoints for key in endpoint.secret_keys())
        return frozenset((*of_bucket, *(() if challenge is None else (challenge.secret,)), *of_endpoints))
