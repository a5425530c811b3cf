"""One real question to one Agent, streamed as a chat would, over a completion: of that the server keeps no text.

The length of the answer is not bounded here: a bound that a model spends on thinking would look like a failure.
"""

import base64
import binascii
import time
from collections.abc import Callable
from dataclasses import dataclass

from syntera_crds.contract import names
from syntera_crds.contract.api_key import ApiKey
from syntera_crds.v1alpha1.common import ConditionType

from ..client import TenantClient
from ..connections import FixedUrl, ForwardedPort
from ..errors import AnswerFailed, CliError, KubectlMissing, RequestRefused
from .findings import Check, Finding, forbidden, ok, problem, skipped
from .judge_tenant import namespace_name
from .looking import Lookout, path_of
from .manifests import Hidden, Manifest, conditions_of, is_true, name_of, quote

QUESTION = "This is a check of the connection. Please answer with one short sentence: are you there?"


@dataclass(frozen=True, slots=True)
class Way:
    """How a tenant's API is reached."""

    context: str | None
    """Context of the kubeconfig."""
    url: str | None
    """The tenant's API; None: a port is forwarded to it."""
    key: str | None
    """An API key; None: the tenant's own is read from its Secret."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """How long an answer took, from the moment in which the question was sent."""

    first_word_seconds: float
    seconds: float


def ask(lookout: Lookout, tenant: Manifest, agent: str, way: Way) -> Finding:
    """Ask the Agent and tell what became of it.

    Raises:
        ClusterUnusable: The API server cannot be asked for the key.
    """
    key = way.key or _read_key(lookout, namespace_name(tenant))
    if isinstance(key, Finding):
        return key
    subject = f"agent/{agent}"
    try:
        answer = _ask(namespace_name(tenant), agent, key, way)
    except KubectlMissing as exc:
        return skipped(Check.QUESTION, f"Not asked: {quote(exc)}", subject=subject)
    except CliError as exc:
        return judge_failure(exc, tenant, agent)
    if answer is None:
        return problem(Check.QUESTION, f"The Agent {agent!r} gave an empty answer.", subject=subject)
    figures = {"secondsToFirstWord": round(answer.first_word_seconds, 3), "seconds": round(answer.seconds, 3)}
    return ok(
        Check.QUESTION,
        f"The Agent {agent!r} answers: first word after {answer.first_word_seconds:.1f} s, all after"
        f" {answer.seconds:.1f} s.",
        subject=subject,
        figures=figures,
    )


def _read_key(lookout: Lookout, namespace: str) -> str | Finding:
    """The tenant's own key, or why it cannot be had."""
    action = f"read the Secret {names.ADMIN_SECRET!r} in namespace {namespace!r}"
    path = path_of("v1", "secrets", namespace=namespace, name=names.ADMIN_SECRET)
    found = lookout.get(path, action)
    if isinstance(found, Hidden):
        return forbidden(Check.QUESTION, action, do="Give a key of the tenant with --api-key-file.")
    encoded = ((found or {}).get("data") or {}).get(names.ADMIN_API_KEY_KEY) or ""
    try:
        key = base64.b64decode(encoded).decode()
    except (binascii.Error, UnicodeDecodeError):
        key = ""
    if ApiKey.parse(key) is None:
        return skipped(Check.QUESTION, f"Not asked: the Secret {names.ADMIN_SECRET!r} holds no API key.")
    return key


def _ask(namespace: str, agent: str, key: str, way: Way) -> _Answer | None:
    """Ask through the URL or a forwarded port; None: the answer was empty.

    Raises:
        CliError: There was no answer, or not a whole one.
    """
    if way.url is not None:
        with TenantClient(FixedUrl(way.url), key) as client:
            return _time_answer(client, agent)
    with ForwardedPort(namespace, context=way.context) as connection, TenantClient(connection, key) as client:
        return _time_answer(client, agent)


def _time_answer(client: TenantClient, agent: str, *, clock: Callable[[], float] = time.monotonic) -> _Answer | None:
    began, first = clock(), None
    for _ in client.complete(agent, QUESTION):
        first = clock() if first is None else first
    return None if first is None else _Answer(first - began, clock() - began)


def judge_failure(exc: CliError, tenant: Manifest, agent: str) -> Finding:
    """What a question that failed says about the Tenant."""
    told, code = quote(exc), exc.code if isinstance(exc, RequestRefused | AnswerFailed) else None
    subject = f"agent/{agent}"
    if code is None and "forbidden" in told.lower():
        return forbidden(
            Check.QUESTION,
            f"forward ports to pods in namespace {namespace_name(tenant)!r}",
            do="Name the tenant's API with --url, if it is reachable from here.",
            subject=subject,
        )
    do, command = _advise(code or "", tenant)
    return problem(
        Check.QUESTION, f"The Agent {agent!r} does not answer: {told}", do=do, command=command, subject=subject
    )


_LOGS = f"kubectl -n {{namespace}} logs deployment/{names.RUNTIME} --since=10m"
_MODELS = "kubectl get tenant {name} -o jsonpath='{{.spec.models}}'"
_KEY_ADVICE = (
    f"If no other key was given, let the operator make a new one by deleting {names.ADMIN_SECRET!r}.",
    f"kubectl -n {{namespace}} delete secret {names.ADMIN_SECRET}",
)
_ENDPOINT_ADVICE = (
    "See whether the endpoint works. If it is in your private network and found by host name, its addresses have to be in"
    " tenants.network.modelCIDRs in the chart's values.",
    _MODELS,
)
_ADVICE = {
    "store_unavailable": ("Look after the store; what the operator says of it is told above.", _LOGS),
    "model_refused": ("Check the endpoint's API key in its Secret, its baseURL, and the model's name.", _MODELS),
    "model_unavailable": _ENDPOINT_ADVICE,
    "model_timeout": _ENDPOINT_ADVICE,
    "model_error": _ENDPOINT_ADVICE,
    "secret_missing": ("The Tenant's references, above, say which Secret is missing.", _MODELS),
    "invalid_api_key": _KEY_ADVICE,
    "model_not_found": ("The pod that was asked does not serve it; its log says why.", _LOGS),
}
"""What to do, and the command for it, by the code that the tenant's API answers with (`docs/reference/openai.md`)."""
_WALLED_OFF = (
    "The operator reaches the stores, the tenant's pods do not: see tenants.network.stores and storeCIDRs in the chart's"
    " values, from which NetworkPolicies are made.",
    "kubectl -n {namespace} describe networkpolicies",
)


def _advise(code: str, tenant: Manifest) -> tuple[str, str]:
    """What to do about an error of the tenant's API, and the command for it."""
    do, command = _ADVICE.get(code, ("The runtime's log says more.", _LOGS))
    if code == "store_unavailable" and is_true(conditions_of(tenant).get(ConditionType.DATABASE_READY)):
        do, command = _WALLED_OFF
    return do, command.format(name=name_of(tenant), namespace=namespace_name(tenant))
