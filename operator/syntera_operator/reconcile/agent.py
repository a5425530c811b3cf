"""Makes the cluster serve an Agent as it says: gather, compile, publish, ask the pods, report.

An Agent that cannot be compiled changes nothing but its own conditions: what was published last goes on being served.
"""

from dataclasses import dataclass

import structlog

from syntera_crds.contract import names
from syntera_crds.v1alpha1.agent import AgentStatus
from syntera_crds.v1alpha1.common import Reason

from ..causes import agent_key
from ..conditions import AGENT_ASPECTS, Check, Good, Outlook, Problem, build_conditions
from ..desired.exposure import build_endpoint
from ..desired.published import AGENT, Publication
from ..errors import RuntimeUnreachable
from ..manifest import Manifest, is_being_deleted
from ..queue import Outcome
from .compiling import Compiled, compile_agent
from .context import Context
from .loading import ask_pods
from .publishing import Checks, Published, Refused, annotate_refusal, publish, read_published
from .readiness import list_ready_pods
from .report import generation_of, list_news, read_status, write_status

log = structlog.get_logger(__name__)

_LOAD_SECONDS = 4.0
"""How long the pods are given to load what was just published; they usually need a fraction of a second."""
_ASK_AGAIN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class _Answer:
    """Whether what is published is served."""

    check: Check
    error: RuntimeUnreachable | None = None
    """What to raise so that the pods are asked again."""
    again_seconds: float | None = None


async def reconcile_agent(namespace: str, name: str, context: Context) -> Outcome:
    """Bring one Agent to what its spec says, as far as it goes now.

    Raises:
        KubeError: the API server did not answer, or refused.
        RuntimeUnreachable: a runtime pod does not answer; the Agent's conditions say so.
        LeadershipLost: this process may write no more.
    """
    manifest = context.cluster.agent(namespace, name)
    if manifest is None or is_being_deleted(manifest):
        context.cluster.set_references(agent_key(namespace, name), set())
        return Outcome()
    try:
        compiled = await compile_agent(manifest, context)
        published = await publish(
            compiled.config,
            scope=compiled.host.scope,
            before=read_status(AgentStatus, manifest),
            checks=compiled.checks,
            manifest=manifest,
            manager=names.AGENT_FIELD_MANAGER,
            cluster=context.cluster,
        )
    except Refused as refused:
        await _report_refused(manifest, refused, context)
        return Outcome(refused.again_seconds)
    answer = await _ask(compiled, published, context)
    await _report_published(manifest, compiled, published.publication, answer.check, context)
    if answer.error is not None:
        raise answer.error
    return Outcome(answer.again_seconds)


async def _ask(compiled: Compiled, published: Published, context: Context) -> _Answer:
    """Ask every ready pod of the runtime, if there is any."""
    host, revision = compiled.host, published.publication.revision
    name = host.tenant.metadata.name
    if host.tenant.spec.suspended:
        message = f"Tenant {name!r} is suspended. Revision {revision} is published and will be served when it goes on."
        return _Answer(Problem(Reason.SUSPENDED, message, Outlook.WANTED))
    pods = list_ready_pods(context.cluster.runtime_pods(host.scope.namespace))
    if not pods or host.tenant_id is None:
        message = f"Revision {revision} is published, but Tenant {name!r} has no ready runtime pod yet."
        return _Answer(Problem(Reason.PODS_NOT_READY, message))
    loaded = await ask_pods(
        pods,
        tenant_id=host.tenant_id,
        agent=compiled.config.name,
        digest=published.publication.digest,
        wait_seconds=_LOAD_SECONDS if published.was_written else 0.0,
        runtimes=context.runtimes,
    )
    if loaded.serving == loaded.asked:
        return _Answer(Good(Reason.SERVING, f"Revision {revision} is served by every ready runtime pod."))
    message = f"Revision {revision} is served by {loaded.serving} of {loaded.asked} ready runtime pods."
    return _Answer(Problem(Reason.NOT_LOADED, message), loaded.error, _ASK_AGAIN_SECONDS)


async def _report_published(
    manifest: Manifest, compiled: Compiled, publication: Publication, ready: Check, context: Context
) -> None:
    """Write what is published and whether it is served; a revision that is served for the first time is news."""
    before = read_status(AgentStatus, manifest)
    host = compiled.host
    endpoint = build_endpoint(host.scope, host.tenant.spec.exposure)
    status = _build_status(manifest, before, compiled.checks, ready, context).model_copy(
        update={
            "revision": publication.revision,
            "digest": publication.digest,
            "url": f"{endpoint}/v1/agents/{manifest['metadata']['name']}",
        }
    )
    news = list_news(before, status, serves_news=publication.revision != before.revision)
    await write_status(manifest, status, cluster=context.cluster, news=news)


async def _report_refused(manifest: Manifest, refused: Refused, context: Context) -> None:
    """Write why nothing new is published, and what is meanwhile."""
    before = read_status(AgentStatus, manifest)
    metadata = manifest["metadata"]
    kept = read_published(
        metadata["namespace"], names.published_agent_name(metadata["name"]), AGENT, cluster=context.cluster
    )
    checks = annotate_refusal(refused, kept)
    status = _build_status(manifest, before, checks, refused.ready, context)
    await write_status(manifest, status, cluster=context.cluster, news=list_news(before, status))


def _build_status(
    manifest: Manifest, before: AgentStatus, checks: Checks, ready: Check, context: Context
) -> AgentStatus:
    generation = generation_of(manifest)
    conditions = build_conditions(
        AGENT_ASPECTS, checks, ready=ready, current=before.conditions, generation=generation, now=context.now()
    )
    return before.model_copy(update={"observed_generation": generation, "conditions": conditions})
