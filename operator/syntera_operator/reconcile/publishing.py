"""What the reconciles of Agents and KnowledgeBases share: accept, publish under a revision, or say why not."""

from dataclasses import dataclass, replace

import structlog

from syntera_crds.v1alpha1.agent import AgentStatus
from syntera_crds.v1alpha1.common import ConditionType, Reason
from syntera_crds.v1alpha1.knowledge_base import KnowledgeBaseStatus
from syntera_kube import resources as kube
from syntera_kube.errors import BadRequest, Invalid

from ..cluster import Cluster, Owner
from ..conditions import Check, Good, Outlook, Problem
from ..desired.metadata import Scope
from ..desired.published import (
    MAX_BYTES,
    Config,
    Form,
    Publication,
    build_published,
    form_of,
    name_of_published,
    next_revision,
    read_publication,
    size_of_published,
)
from ..errors import NameTaken
from ..manifest import Manifest
from .children import describe_name_taken
from .host import Host, find_host

log = structlog.get_logger(__name__)

ACCEPTED = Good(Reason.ACCEPTED, "The spec is sound.")
_ABOUT_REFERENCES = frozenset({Reason.TENANT_NOT_FOUND, Reason.TENANT_NOT_ACCEPTED})
_NOT_PUBLISHED = Problem(Reason.PENDING, "Nothing was published; see the other conditions.")
_LOOK_AGAIN_SECONDS = 15.0
"""Where something that nobody watches stands in the way."""

Checks = dict[ConditionType, Check]


class Refused(Exception):
    """Nothing new can be published: why, and when to look again although nothing changed."""

    def __init__(self, checks: Checks, *, ready: Check = _NOT_PUBLISHED, again_seconds: float | None = None) -> None:
        self.checks = checks
        self.ready = ready
        self.again_seconds = again_seconds
        super().__init__()

    def describe(self) -> str:
        """Everything that stands in the way."""
        problems = (one for one in (*self.checks.values(), self.ready) if isinstance(one, Problem))
        return " ".join(one.message for one in problems if one is not _NOT_PUBLISHED)


@dataclass(frozen=True, slots=True)
class Published:
    """What is published now."""

    publication: Publication
    was_written: bool
    """Whether this very reconcile wrote it."""


def invalid(message: str) -> Problem:
    """The spec contradicts itself."""
    return Problem(Reason.INVALID, message, Outlook.STALLED)


def require_host(namespace: str, *, kind: str, checks: Checks, cluster: Cluster) -> Host:
    """The Tenant of the namespace.

    Raises:
        Refused: there is none that something can be made for now.
    """
    host = find_host(namespace, kind=kind, cluster=cluster)
    if isinstance(host, Problem):
        if host.reason in _ABOUT_REFERENCES:
            raise Refused(checks | {ConditionType.RESOLVED_REFS: host})
        raise Refused(checks, ready=host)
    return host


async def publish(
    config: Config,
    *,
    scope: Scope,
    before: AgentStatus | KnowledgeBaseStatus,
    checks: Checks,
    manifest: Manifest,
    manager: str,
    cluster: Cluster,
) -> Published:
    """Write the configuration of `manifest` under its revision; `before` is its status, which tells the one before.

    Raises:
        Refused: it does not fit, or cannot be written.
        KubeError: the API server did not answer, or refused.
        LeadershipLost: this process may write no more.
    """
    digest = config.digest()
    recorded = Publication(before.revision, before.digest) if before.revision and before.digest else None
    published = read_published(scope.namespace, name_of_published(config), form_of(config), cluster=cluster)
    revision = next_revision(digest, recorded=recorded, published=published)
    desired = build_published(scope, config.model_copy(update={"revision": revision}), digest=digest)
    if (size := size_of_published(desired)) > MAX_BYTES:
        message = f"The compiled configuration has {size} bytes, but a ConfigMap takes {MAX_BYTES}; shorten its texts."
        raise Refused(checks | {ConditionType.ACCEPTED: Problem(Reason.TOO_LARGE, message, Outlook.STALLED)})
    try:
        was_written = await cluster.apply(desired, owner=Owner.of(manifest), manager=manager)
    except NameTaken as error:
        raise Refused(checks, ready=describe_name_taken(error), again_seconds=_LOOK_AGAIN_SECONDS) from None
    except (Invalid, BadRequest) as error:
        message = f"The API server refuses the compiled configuration: {error.message}"
        raise Refused(checks, ready=Problem(Reason.REJECTED, message, Outlook.STALLED)) from None
    if was_written:
        log.info("configuration published", revision=revision, digest=digest)
    return Published(Publication(revision, digest), was_written)


def read_published(namespace: str, name: str, form: Form, *, cluster: Cluster) -> Publication | None:
    """What is published in the ConfigMap of that name, whoever made it; None: nothing that can be read."""
    return read_publication(cluster.child(kube.CONFIG_MAPS, namespace, name), form)


def annotate_refusal(refused: Refused, kept: Publication | None) -> Checks:
    """The checks of a refusal, told what stays published meanwhile."""
    note = f" Revision {kept.revision} stays published." if kept else ""
    return {type_: _annotate(check, note) for type_, check in refused.checks.items()}


def _annotate(check: Check, note: str) -> Check:
    if isinstance(check, Good) or check.reason is Reason.TENANT_NOT_FOUND:
        return check
    return replace(check, message=check.message + note)
