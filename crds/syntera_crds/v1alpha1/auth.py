"""The part of a Tenant that says whom its API believes: issuers of tokens, websites whose pages may call it, and a challenge."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from .common import HOST_LABEL, LABEL, PATH, PORT, ConfigMapKeyRef, DnsName, Model, SecretKeyRef
from .rules import Rule, UniqueBy, matching


class Algorithm(StrEnum):
    """How tokens may be signed: by a private key whose public half the issuer shows, never by a shared secret."""

    RS256 = "RS256"
    RS384 = "RS384"
    RS512 = "RS512"
    PS256 = "PS256"
    PS384 = "PS384"
    PS512 = "PS512"
    ES256 = "ES256"
    ES384 = "ES384"
    ES512 = "ES512"
    EDDSA = "EdDSA"


_PLAIN = matching("^[!-~]+$", "must be printable ASCII characters without a space")
IssuerName = Annotated[str, Field(min_length=1, max_length=1024), _PLAIN]
Audience = Annotated[str, Field(min_length=1, max_length=1024), _PLAIN]

# <service>, <service>.<namespace>.svc and <pod>.<service>.<namespace>.svc, these two with the usual domain or without.
_SERVICE = rf"{HOST_LABEL}((\.{HOST_LABEL}){{1,2}}\.svc(\.cluster\.local)?)?"
_PROTECTED = rf"^(https://{HOST_LABEL}(\.{HOST_LABEL})*|http://{_SERVICE})(:({PORT}))?(/{PATH}(\?{PATH})?)?$"
JwksURL = Annotated[
    str,
    Field(min_length=1, max_length=1024),
    matching(
        _PROTECTED,
        "must be a URL such as https://login.example/jwks.json; http is for Services of this cluster alone, such as"
        " http://keycloak.identity.svc:8080/certs",
    ),
]

VerifyURL = Annotated[
    str,
    Field(min_length=1, max_length=1024),
    matching(
        _PROTECTED,
        "must be a URL such as https://challenges.cloudflare.com/turnstile/v0/siteverify; http is for Services of this"
        " cluster alone, such as http://challenge.identity.svc:8080/siteverify",
    ),
]

ClaimPath = Annotated[
    str,
    Field(min_length=1, max_length=256),
    matching(
        r"^[-_:a-zA-Z0-9]+(\.[-_:a-zA-Z0-9]+)*$",
        "must be names of claims with dots between them, such as app_metadata.role; a name has letters, digits, '-', '_'"
        " and ':'",
    ),
]

# Scheme, the longest host name, and a port.
_MAX_ORIGIN_LENGTH = len("https://") + 253 + len(":65535")
Origin = Annotated[
    str,
    Field(min_length=1, max_length=_MAX_ORIGIN_LENGTH),
    matching(
        rf"^(https://{LABEL}(\.{LABEL})*|http://localhost)(:({PORT}))?$",
        "must be an origin such as https://www.acme.example or http://localhost:3000: a host in lower case and at most a"
        " port, without a path or a wildcard; http is for localhost alone",
    ),
    Rule(
        "!(self.startsWith('https://') && self.endsWith(':443')) && !(self.startsWith('http://') && self.endsWith(':80'))",
        "must not name the port that goes without saying, because browsers leave it out: 443 for https, 80 for http",
        holds=lambda origin: (
            not (origin.startswith("https://") and origin.endswith(":443"))
            and not (origin.startswith("http://") and origin.endswith(":80"))
        ),
    ),
]


class Issuer(Model):
    """Somebody whose signed tokens (JWT) say who a person is: an OpenID provider, or Supabase Auth."""

    issuer: IssuerName
    """What its tokens say in `iss`, to the letter, for example `https://xyz.supabase.co/auth/v1`."""
    audiences: Annotated[list[Audience], Field(min_length=1, max_length=16)]
    """What its tokens may say in `aud`; one of these must be there. For Supabase `authenticated`."""
    jwks_url: JwksURL
    """Where its public keys are (a JSON Web Key Set)."""
    algorithms: Annotated[
        list[Annotated[Algorithm, Field(strict=False)]], Field(min_length=1, max_length=len(Algorithm))
    ] = [Algorithm.RS256, Algorithm.ES256]
    """How its tokens may be signed. Default RS256 and ES256. Algorithms with a shared secret (HS256) cannot be named."""
    role_claim: ClaimPath | None = None
    """The claim that says whether a person is one of the tenant's own people, `owner`, `admin` or `member`; names of
    claims inside of claims with dots between them, for example `app_metadata.role`. Only a claim that people cannot
    write themselves belongs here. Left out: the issuer's people are all customers."""
    ca_bundle_config_map_ref: ConfigMapKeyRef | None = None
    """PEM certificates to trust for jwksURL instead of the public ones. Left out: those."""


class Challenge(Model):
    """A challenge that a visitor's browser solves before a publishable key buys the token of a new visitor: that of Cloudflare
    Turnstile, hCaptcha, reCAPTCHA version 2, or whatever else verifies responses by the same call."""

    verify_url: VerifyURL
    """Where the provider says whether a response is right. It is sent `secret`, `response` and `remoteip`, the visitor's
    address, as a form."""
    secret_key_ref: SecretKeyRef
    """The secret that belongs to the site key of the page."""
    hostnames: Annotated[list[DnsName], Field(max_length=64)] = []
    """Hosts of the pages on which the challenge may have been solved, as the provider tells them. Left out: any host, so have
    the provider look at it."""


class Auth(Model):
    """Whom the tenant's API believes beside the holders of its API keys."""

    issuers: Annotated[list[Issuer], Field(max_length=16), UniqueBy("issuer")] = []
    """Whose tokens say who a person is. Left out: nobody signs in."""
    allowed_origins: Annotated[list[Origin], Field(max_length=64)] = []
    """Websites whose pages may call the tenant's API from a browser, as browsers name them: scheme, host and port, to the
    letter, international names in their ASCII form. Left out: none."""
    challenge: Challenge | None = None
    """What a visitor's browser solves before a publishable key buys the token of a new visitor. Visitors who are known by a
    token of before, and those whose identity somebody proves, need not. While the provider is away there are no new visitors.
    Left out: nothing."""
