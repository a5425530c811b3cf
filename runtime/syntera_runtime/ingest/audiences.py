"""For whom documents are, brought in step with the configuration before anything else.

Whoever narrows an audience must not wait for a website to be read, or for a model endpoint that is away.
"""

from contextlib import aclosing

from .work import Work


async def apply_audiences(work: Work) -> None:
    """Give every known document of the configured sources the audience of its source, unless it has one of its own.

    Raises:
        StoreUnavailable: Something could not be read or written.
    """
    for source in work.config.sources:
        audience = frozenset(source.audience)
        async with aclosing(work.documents(source.name).pages()) as pages:
            async for page in pages:
                changed = [
                    document.id
                    for document in page
                    if document.facts.audience != audience and not document.facts.keeps_audience
                ]
                if changed:
                    await work.store.set_audience(work.tenant_id, changed, audience)
