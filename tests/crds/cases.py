"""For every constraint of the CRDs, objects that just keep it and objects that just break it.

Cases of bounds follow from the bound's value. What a rule takes and refuses is written here by hand, by the rule's message:
a rule that stands in many places is tried in each.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .constraints import RULES, Constraint, Json
from .manifests import get_at, make_manifest, manifest_with, path_of, replace_at


@dataclass(frozen=True)
class Case:
    """One object for one constraint."""

    constraint: Constraint
    manifest: Json
    is_sound: bool
    path: str
    """The field that the error must name."""
    label: str

    @property
    def name(self) -> str:
        """For test ids."""
        return f"{self.constraint.name}:{'takes' if self.is_sound else 'refuses'}:{self.label}"

    @property
    def is_status(self) -> bool:
        """Whether it is about what the operator writes."""
        return self.constraint.steps[:1] == ("status",)


@dataclass(frozen=True)
class Examples:
    """Values for the place where a rule stands."""

    takes: tuple[Any, ...]
    refuses: tuple[Any, ...]


@dataclass(frozen=True)
class Change:
    """For a rule that compares with the object before: a spec, and specs that it may and may not become."""

    kind: str
    before: Json
    takes: tuple[Json, ...]
    refuses: tuple[Json, ...]


_REF = {"name": "some-object", "key": "some.key"}
_PRICED = {
    "name": "main",
    "baseURL": "https://models.example/v1",
    "chat": "small",
    "prices": [{"model": "small", "inputPerMillionTokens": "0.15", "outputPerMillionTokens": "0.6"}],
}
_LABELS = Examples(takes=("a", "a-1", "0a"), refuses=("A", "a.b", "-a", "a-", "a_b", "ä", "a\n"))
_REQUESTS = {
    name: Examples(
        takes=(
            {},
            {"requests": {name: "2"}},
            {"limits": {name: "1"}},
            {"requests": {}, "limits": {name: "1"}},
            {"requests": {name: "1000m"}, "limits": {name: 1}},
            {"requests": {name: "1023Mi"}, "limits": {name: "1Gi"}},
        ),
        refuses=(
            {"requests": {name: "1001m"}, "limits": {name: 1}},
            {"requests": {name: "1025Mi"}, "limits": {name: "1Gi"}},
            {"requests": {name: "1Gi"}, "limits": {name: "1G"}},
        ),
    )
    for name in ("cpu", "memory")
}
RESERVED_PARAMETERS: Json = {
    "functions": [{}],
    "max_completion_tokens": 1,
    "max_tokens": 1,
    "messages": [{"role": "user"}],
    "model": "m",
    "n": 1,
    "stream": False,
    "stream_options": {"include_usage": True},
    "temperature": 0.5,
    "tools": [{"type": "function"}],
    "top_p": 1,
}

_PROTECTED_URLS = Examples(
    takes=(
        "https://a",
        "https://login.example/jwks.json",
        "https://Login.example:8443/a_b/keys?p=sign-in&x=1",
        "https://10.0.0.1/keys",
        "http://keycloak/certs",
        "http://keycloak.identity.svc",
        "http://keycloak.identity.svc:8080/certs",
        "http://keycloak.identity.svc.cluster.local/certs",
        "http://keycloak-0.keycloak.identity.svc/certs",
    ),
    refuses=(
        "login.example/jwks.json",
        "ftp://login.example",
        "https://",
        "https://user@login.example",
        "https://login.example?p=1",
        "https://login.example/?p=1#top",
        "https://login.example/?p=?",
        "https://login.example/a b",
        "https://login.example:0",
        "https://[::1]/keys",
        "https://login.example/keys\n",
        "http://login.example/jwks.json",
        "http://keycloak.identity/certs",
        "http://keycloak.identity.svc.example/certs",
        "http://svc.example/keycloak.identity.svc",
        "http://10.0.0.1/keys",
        "http://a.b.c.d.svc/certs",
    ),
)

EXAMPLES: dict[str, Examples] = {
    "must be lower-case letters, digits and '-', and begin and end with a letter or digit": _LABELS,
    "must be lower-case letters, digits, '-' and '.', and each part begin and end with a letter or digit": Examples(
        takes=("a", "a.b", "a-1.b-2"), refuses=("A", "a..b", ".a", "a.", "a.-b", "a_b", "a\n")
    ),
    "must be lower-case letters, digits and '-', such as eu-central-1": Examples(
        takes=("a", "eu-central-1", "0a"), refuses=("A", "eu_central", "-a", "a-", "a.b", "a\n")
    ),
    "must be lower-case letters, digits, '-' and '.', and begin and end with a letter or digit": Examples(
        takes=("abc", "files.acme-1", "0ab"), refuses=("Abc", "a_b", "-ab", "ab-", ".ab", "ab.", "a/b", "abc\n")
    ),
    "must be names of letters, digits, '-', '_' and '.' with '/' between them, none of dots alone, such as"
    " syntera/acme": Examples(
        takes=("a", "syntera/acme", "A_b-c.d/e", ".hidden"),
        refuses=("/a", "a/", "a//b", "..", "a/../b", "a/.", "ä", "a b", "a\n"),
    ),
    "must be letters, digits, '-', '_' and '.'": Examples(
        takes=("a", "A_b-c.d", ".hidden"), refuses=("a b", "a/b", "ä", "a\n")
    ),
    "must be a URL such as https://models.example/v1: http or https, a host, and at most a port and a path": Examples(
        takes=(
            "http://a",
            "https://models.example/v1",
            "http://10.0.0.1:8000/",
            "http://a_b.c:65535/x%20y/~z/@(1)",
            "https://A.example:1/v1;x=1,2!$&*+=:",
        ),
        refuses=(
            "models.example/v1",
            "ftp://models.example",
            "https://",
            "https:///v1",
            "https://user@models.example",
            "https://user:password@models.example",
            "https://models.example?api-version=1",
            "https://models.example/#top",
            "https://models.example/a b",
            "https://models.example:0",
            "https://models.example:65536",
            "https://models.example:",
            "https://a..b",
            "https://-a",
            "https://[::1]",
            "https://models.example/\u00e4",
            "https://models.example/v1\n",
        ),
    ),
    "must be printable ASCII characters without a space": Examples(
        takes=("a", "https://xyz.supabase.co/auth/v1", "!~"), refuses=(" ", "a b", " a", "a\t", "ä", "a\n")
    ),
    "must be a URL such as https://login.example/jwks.json; http is for Services of this cluster alone, such as"
    " http://keycloak.identity.svc:8080/certs": _PROTECTED_URLS,
    "must be a URL such as https://challenges.cloudflare.com/turnstile/v0/siteverify; http is for Services of this"
    " cluster alone, such as http://challenge.identity.svc:8080/siteverify": _PROTECTED_URLS,
    "must be names of claims with dots between them, such as app_metadata.role; a name has letters, digits, '-', '_'"
    " and ':'": Examples(
        takes=("role", "app_metadata.role", "realm-access.Roles.0", "custom:role"),
        refuses=(".role", "role.", "a..b", "a b", "https://acme.example/role", "a[0]", "ä", "role\n"),
    ),
    "must be a host name in lower case such as crm.tools.svc or hooks.acme.example: no scheme, port or wildcard": Examples(
        takes=("a", "crm.tools.svc", "hooks.acme.example", "1.2.3.4", "xn--bcher-kva.example"),
        refuses=(
            "A.example",
            "https://a.example",
            "a.example:443",
            "*.a.example",
            "a..example",
            ".a",
            "a.",
            "ä",
            "a/b",
        ),
    ),
    "must be an origin such as https://www.acme.example or http://localhost:3000: a host in lower case and at most a"
    " port, without a path or a wildcard; http is for localhost alone": Examples(
        takes=(
            "https://www.acme.example",
            "https://xn--mnchen-3ya.example:8443",
            "https://localhost",
            "https://10.0.0.1",
            "http://localhost",
            "http://localhost:3000",
        ),
        refuses=(
            "*",
            "null",
            "www.acme.example",
            "https://",
            "https://*.acme.example",
            "https://acme.example/",
            "https://acme.example/chat",
            "https://Acme.example",
            "HTTPS://acme.example",
            "https://user@acme.example",
            "https://acme.example:",
            "https://acme.example:65536",
            "https://acme.example,https://other.example",
            "https://[::1]",
            "http://acme.example",
            "http://127.0.0.1:3000",
            "http://localhost.example",
            "ws://localhost",
            "https://acme.example\n",
        ),
    ),
    "must not name the port that goes without saying, because browsers leave it out: 443 for https, 80 for http": Examples(
        takes=("https://acme.example:80", "https://acme.example:8443", "http://localhost:443", "http://localhost:8080"),
        refuses=("https://acme.example:443", "http://localhost:80"),
    ),
    "must be an amount such as 2, 500m, 1.5 or 512Mi, not negative": Examples(
        takes=(0, 2, 10**15, "0", "1.5", "100m", "512Mi", "999999999999.999Ei", "3E"),
        refuses=(-1, 10**15 + 1, "", "-1", "+1", "1.", ".5", "1e3", "1mi", "1 Gi", "1.2345", "Mi", "1\n"),
    ),
    "must be letters, digits, '-' and '_', and begin with a letter or digit": Examples(
        takes=("A", "X-Team_1"), refuses=("-a", "a b", "a:", "ä", "a\n")
    ),
    "must be printable ASCII characters without a space at either end": Examples(
        takes=("a", "a b", "!~"), refuses=(" a", "a ", "a\tb", "a\nb", "ä", "a\n")
    ),
    "must be three capital letters such as EUR or USD (ISO 4217)": Examples(
        takes=("EUR", "USD"), refuses=("eur", "E1R", "ÄUR", "EU\n", " EU")
    ),
    "must be an amount below 1000000 such as '0.15' or '3', in quotes, with at most six decimals": Examples(
        takes=("0", "3", "0.15", "999999.999999", "0.000001", "10.50"),
        refuses=("-1", "+1", "1.", ".5", "01", "1000000", "0.0000001", "1e3", "1,5", "NaN", " 1", "1\n"),
    ),
    "is needed where a model has prices; say which currency they are in, for example EUR": Examples(
        takes=(
            {},
            {"currency": "EUR"},
            {"models": [_PRICED], "currency": "EUR"},
            {"models": [{**_PRICED, "prices": []}]},
            {"models": [{key: value for key, value in _PRICED.items() if key != "prices"}]},
        ),
        refuses=(
            {"models": [_PRICED]},
            {"models": [{**_PRICED, "name": "first", "prices": []}, _PRICED]},
        ),
    ),
    "set exactly one of value and secretKeyRef": Examples(
        takes=({"name": "a", "value": "b"}, {"name": "a", "secretKeyRef": _REF}),
        refuses=({"name": "a"}, {"name": "a", "value": "b", "secretKeyRef": _REF}),
    ),
    "must not exceed max": Examples(
        takes=({"min": 2, "max": 2}, {"min": 1, "max": 2}), refuses=({"min": 3, "max": 2},)
    ),
    "must not exceed limits.cpu": _REQUESTS["cpu"],
    "must not exceed limits.memory": _REQUESTS["memory"],
    "cannot stand beside autoscaling, which owns the number of pods; remove one of the two": Examples(
        takes=({}, {"replicas": 1}, {"autoscaling": {"min": 1, "max": 2}}),
        refuses=({"replicas": 1, "autoscaling": {"min": 1, "max": 2}},),
    ),
    "stands alone: ingressClassName and tlsSecretName belong to an Ingress; remove them or this": Examples(
        takes=(
            {"host": "a"},
            {"host": "a", "ingressClassName": "b", "tlsSecretName": "c"},
            {"host": "a", "gatewayRef": {"name": "b", "namespace": "c"}},
        ),
        refuses=(
            {"host": "a", "ingressClassName": "b", "gatewayRef": {"name": "b", "namespace": "c"}},
            {"host": "a", "tlsSecretName": "b", "gatewayRef": {"name": "b", "namespace": "c"}},
        ),
    ),
    "must be a range of addresses such as 10.0.0.0/8 or 2001:db8::/32; a single one ends in /32, or in /128": Examples(
        takes=(
            "10.0.0.0/8",
            "10.1.2.3/8",
            "0.0.0.0/0",
            "192.0.2.7/32",
            "::/0",
            "2001:db8::/32",
            "2001:DB8::1/128",
            "64:ff9b::192.0.2.0/120",
        ),
        refuses=(
            "10.0.0.0",
            "10.0.0/8",
            "10.0.0.0/33",
            "10.0.0.0/08",
            "10.0.0.0/255.0.0.0",
            "10.0.0.256/8",
            "010.0.0.0/8",
            "2001:db8::/129",
            "2001:db8/32",
            "::ffff:10.0.0.0/104",
            "::ffff:a00:0/104",
            "fe80::1%eth0/64",
            "proxy.example/32",
            "10.0.0.0/8\n",
        ),
    ),
    "must not be 'default' or begin with 'kube-'; choose a namespace of the tenant's own": Examples(
        takes=("acme", "default-1", "kube"), refuses=("default", "kube-system", "kube-x")
    ),
    "each key must be the name of a resource, such as pods or requests.cpu": Examples(
        takes=({"requests.cpu": 1}, {"count/deployments.apps": 1}, {"a" * 253: 1}),
        refuses=({"": 1}, {"pods": 1, "-a": 1}, {"a b": 1}, {"a" * 254: 1}, {"a\n": 1}),
    ),
    "is needed where the Tenant's name has more than 55 characters, because the default 'syntera-<name>' would be too long": (
        Examples(
            takes=(
                make_manifest("Tenant", {}, name="a" * 55),
                make_manifest("Tenant", {"namespace": "acme"}, name="a" * 56),
            ),
            refuses=(make_manifest("Tenant", {}, name="a" * 56),),
        )
    ),
    "set exactly one of instructions and instructionsFrom": Examples(
        takes=({"instructions": "a"}, {"instructionsFrom": {"configMapKeyRef": _REF}}),
        refuses=({}, {"instructions": "a", "instructionsFrom": {"configMapKeyRef": _REF}}),
    ),
    "needs knowledge: without any nothing can be cited": Examples(
        takes=(
            {"instructions": "a"},
            {"instructions": "a", "guardrails": {}},
            {"instructions": "a", "guardrails": {"requireCitations": False}},
            {"instructions": "a", "guardrails": {"requireCitations": True}, "knowledge": [{"name": "a"}]},
        ),
        refuses=(
            {"instructions": "a", "guardrails": {"requireCitations": True}},
            {"instructions": "a", "guardrails": {"requireCitations": True}, "knowledge": []},
        ),
    ),
    "must be the index's host as Pinecone tells it, such as https://docs-abc123.svc.aped-4627-b74a.pinecone.io: https, a"
    " host, and at most a port": Examples(
        takes=("https://a", "https://docs-1.svc.pinecone.io", "https://a.example:8443"),
        refuses=(
            "docs.svc.pinecone.io",
            "http://a",
            "https://a/",
            "https://a?b",
            "https://u@a",
            "https://a:0",
            "https://a\n",
        ),
    ),
    "must be a URL such as https://www.acme.example/help: http or https, a host, and at most a port, a path and a query": (
        Examples(
            takes=(
                "http://a",
                "https://www.acme.example/help",
                "https://www.acme.example:8443/page?x=1&y=a/b",
                "http://docs.tools.svc/",
            ),
            refuses=(
                "www.acme.example",
                "ftp://a",
                "https://",
                "https://u@a",
                "https://a?x=1",
                "https://a/#top",
                "https://a/b c",
                "https://a:65536",
                "https://[::1]/",
                "https://a/\n",
            ),
        )
    ),
    "must be a URL such as https://git.example/acme/docs.git: https, a host, at most a port, and a path; what logs in"
    " belongs into credentialsSecretRef": Examples(
        takes=("https://git.example/acme/docs.git", "https://git.example:8443/a", "https://a/"),
        refuses=(
            "http://git.example/a",
            "git@git.example:a",
            "ssh://git.example/a",
            "https://git.example",
            "https://token@git.example/a",
            "https://git.example/a?b=c",
            "https://git.example/a b",
            "file:///etc",
            "https://git.example/a\n",
        ),
    ),
    "must be a URL such as https://s3.eu-central-1.amazonaws.com: http or https, a host, and at most a port and a path": (
        Examples(
            takes=("https://s3.example", "http://minio.storage.svc:9000", "https://a/b"),
            refuses=("s3.example", "s3://a", "https://u@a", "https://a?b", "https://a:0", "https://a\n"),
        )
    ),
    "must be a branch, a tag or a commit: letters, digits, '-', '+', '@', '_', '.' and '/', and must not begin with '-'": (
        Examples(
            takes=("main", "release/1.2", "v1.0+b", "0a1b", "refs/tags/v1"),
            refuses=("-upload-pack", "a b", "a~1", "a:b", "a^", "ä", "a\n"),
        )
    ),
    "set urls, sitemap or both": Examples(
        takes=({"urls": ["https://a"]}, {"sitemap": "https://a"}, {"urls": ["https://a"], "sitemap": "https://a"}),
        refuses=({}, {"urls": []}, {"maxPages": 3}),
    ),
    "set exactly one of inline, configMap, web, git, s3 and upload": Examples(
        takes=(
            {"name": "a", "inline": {"title": "b", "text": "c"}},
            {"name": "a", "configMap": {"name": "b"}},
            {"name": "a", "web": {"urls": ["https://a"]}},
            {"name": "a", "git": {"url": "https://a/b"}},
            {"name": "a", "s3": {"endpointURL": "https://a", "bucket": "abc", "credentialsSecretRef": {"name": "b"}}},
            {"name": "a", "upload": {}},
        ),
        refuses=(
            {"name": "a"},
            {"name": "a", "upload": {}, "configMap": {"name": "b"}},
            {"name": "a", "upload": {}, "inline": {"title": "b", "text": "c"}, "web": {"urls": ["https://a"]}},
        ),
    ),
    "must be two lower-case letters such as en or de (ISO 639-1)": Examples(
        takes=("en", "de"), refuses=("EN", "e1", "é1", "e\n")
    ),
    "must be less than half of targetTokens": Examples(
        takes=(
            {},
            {"overlapTokens": 174},
            {"targetTokens": 64},
            {"targetTokens": 64, "overlapTokens": 31},
            {"targetTokens": 65, "overlapTokens": 32},
            {"targetTokens": 64, "overlapTokens": 0},
        ),
        refuses=({"overlapTokens": 175}, {"targetTokens": 64, "overlapTokens": 32}),
    ),
    "must be five fields with single spaces between them, such as '0 3 * * *', or a word such as @daily": Examples(
        takes=("0 3 * * *", "*/15 8-18 1,15 JAN-JUN mon-fri", "0 0 ? * 0", "@daily", "@hourly"),
        refuses=(
            "0 3 * *",
            "0 3 * * * *",
            "0  3 * * *",
            " 0 3 * * *",
            "@every 1h",
            "@reboot",
            "TZ=UTC 0 3 * * *",
            "0 3 * * 5#2",
            "0 3 * * *\n",
        ),
    ),
    "must be the name of a time zone such as Europe/Vienna": Examples(
        takes=("UTC", "Europe/Vienna", "Etc/GMT+1", "America/Argentina/Buenos_Aires"),
        refuses=("+01:00", "/etc/passwd", "../UTC", "Europe Vienna", "Ä", "UTC\n"),
    ),
    "must not hold functions, max_completion_tokens, max_tokens, messages, model, n, stream, stream_options, temperature,"
    " tools, top_p: Syntera sets these itself; name, temperature, topP and maxOutputTokens have fields of their own"
    " beside parameters": Examples(
        takes=({}, {"reasoning_effort": "low", "a": None, "b": [1, {"c": None}], "Model": 1}),
        refuses=tuple({"seed": 1, name: value} for name, value in RESERVED_PARAMETERS.items()),
    ),
}
"""By message. The values go where the rule stands; a rule on a whole object gets whole objects."""

CHANGES: dict[str, Change] = {
    "cannot change once the Tenant exists; delete the Tenant with deletionPolicy Retain and make another one": Change(
        "Tenant",
        before={"namespace": "acme"},
        takes=({"namespace": "acme"}, {"namespace": "acme", "suspended": True}),
        refuses=({"namespace": "other"}, {}),
    ),
}
"""The same for rules that compare with the object before. What such a rule refuses must also be refused in two steps."""

_TEXTS = {
    "allowedOrigins": "https://{}",
    "baseURL": "https://{}",
    "endpointURL": "https://{}",
    "jwksURL": "https://{}",
    "proxyURL": "http://{}",
    "cron": "{} 3 * * *",
    "indexHost": "https://{}",
    "sitemap": "https://{}",
    "url": "https://a/{}",
    "urls": "https://{}",
    "verifyURL": "https://{}",
    "networks": "2001:1db8:1111:1111:1111:1111:1111:{}/128",
    "trustedProxies": "2001:1db8:1111:1111:1111:1111:1111:{}/128",
}
"""What a text must look like, by the field, or the list, that it stands in."""
_WHOLE_TEXTS = {"currency": "EUR", "inputPerMillionTokens": "123456.123456", "outputPerMillionTokens": "123456.123456"}
"""The same for texts that are written in full and cut to their length."""
_WRONG_TYPES: dict[str, Any] = {"array": "x", "boolean": "x", "integer": "x", "number": "x", "object": "x", "string": 7}
_WRONG_FORMATS = {"date-time": "yesterday", "int64": 1.5}


def build_cases(constraint: Constraint) -> list[Case]:
    """At least one sound and one broken object for a constraint that looks at one object alone.

    Raises:
        LookupError: there is no example, or no complete object has the place; add it.
    """
    if constraint.keyword == RULES:
        return [*_rule_cases(constraint)]
    manifest = manifest_with(constraint.kind, constraint.steps)
    path = path_of(manifest, constraint.steps)
    made = []
    for is_sound, value, suffix in _bound_values(constraint, get_at(manifest, constraint.steps)):
        changed = replace_at(manifest, constraint.steps, value)
        made.append(Case(constraint, changed, is_sound, f"{path}{suffix}".lstrip("."), _short(value)))
    return made


def _rule_cases(constraint: Constraint) -> Iterator[Case]:
    rule = constraint.value
    manifest = manifest_with(constraint.kind, constraint.steps)
    path = f"{path_of(manifest, constraint.steps)}{rule.get('fieldPath', '')}".lstrip(".")
    examples = EXAMPLES[rule["message"]]
    for is_sound, values in ((True, examples.takes), (False, examples.refuses)):
        for value in values:
            yield Case(constraint, replace_at(manifest, constraint.steps, value), is_sound, path, _short(value))


def _bound_values(constraint: Constraint, value: Any) -> Iterator[tuple[bool, Any, str]]:  # noqa: PLR0912 - one table
    """Whether the value is sound, the value, and where below the place the error is."""
    bound, name = constraint.value, next((step for step in reversed(constraint.steps) if step != "[]"), "")
    match constraint.keyword:
        case "minLength":
            yield True, _text(constraint, bound, name), ""
            yield False, "a" * (bound - 1), ""
        case "maxLength":
            yield True, _text(constraint, bound, name), ""
            yield False, _text(constraint, bound + 1, name), ""
        case "minimum" | "maximum":
            yield True, bound, ""
            yield False, bound + (1 if constraint.keyword == "maximum" else -1), ""
        case "minItems":
            yield True, _entries(constraint.schema, value, bound), ""
            yield False, _entries(constraint.schema, value, bound - 1), ""
        case "maxItems":
            yield True, _entries(constraint.schema, value, bound), ""
            yield False, _entries(constraint.schema, value, bound + 1), ""
        case "minProperties":
            yield True, _map(value, bound), ""
            yield False, _map(value, bound - 1), ""
        case "maxProperties":
            yield True, _map(value, bound), ""
            yield False, _map(value, bound + 1), ""
        case "enum":
            yield from ((True, member, "") for member in bound)
            yield False, f"{bound[0]}x", ""
        case "required":
            yield True, value, ""
            yield False, {key: below for key, below in value.items() if key != bound}, f".{bound}"
        case "x-kubernetes-list-map-keys":
            yield True, _entries(constraint.schema, value, 2), ""
            yield False, [value[0], value[0]], "[1]"
        case "type":
            yield True, value, ""
            yield False, _WRONG_TYPES[bound], ""
        case "format":
            yield True, value, ""
            yield False, _WRONG_FORMATS[bound], ""
        case "x-kubernetes-int-or-string":
            yield from ((True, 1, ""), (True, "1", ""), (False, True, ""), (False, 1.5, ""))
        case _:
            raise LookupError(f"no cases are known for {constraint.keyword!r}")


def _text(constraint: Constraint, length: int, name: str) -> str:
    """A text of that length that keeps the rules of its place."""
    if "x-kubernetes-int-or-string" in constraint.schema:
        return "123456789012.123Ki".rjust(length, "1")
    if name in _WHOLE_TEXTS:
        return _WHOLE_TEXTS[name][:length].rjust(length, _WHOLE_TEXTS[name][0])
    frame = _TEXTS.get(name, "{}")
    return frame.format("a" * (length - len(frame) + 2)) if length >= len(frame) else frame.format("a")


def _entries(schema: Json, value: list[Any], count: int) -> list[Any]:
    """As many entries as wanted, like the first, told apart where they must be."""
    keys = schema.get("x-kubernetes-list-map-keys", [])
    return [{**value[0], **dict.fromkeys(keys, f"e{index}")} if keys else value[0] for index in range(count)]


def _map(value: Json, count: int) -> Json:
    """As many entries as wanted, like the first."""
    first = next(iter(value.values()))
    return {f"k{index}": first for index in range(count)}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:20]}({len(text)})"
