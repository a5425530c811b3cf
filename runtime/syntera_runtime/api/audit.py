"""The record of administrative acts, written around the operations that `permissions` marks.

An act is written before it is done, so that none is done without: where that cannot be, the operation is refused. How it ended
is written afterwards, and cannot always be: such an act has no status.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, cast

import structlog
from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError

from ..errors import InvalidRequest, StoreUnavailable, SynteraError
from ..ids import new_id, time_of
from ..models.audit import Act
from ..models.identity import Principal
from ..models.ids import ActId
from .context import request_id_of, services_of
from .limits import address_of
from .permissions import Requirement

log = structlog.get_logger(__name__)

_LONGEST_TARGET = 100


class Outcome:
    """What an operation may add to the record of it."""

    def __init__(self, targets: dict[str, str]) -> None:
        self.targets = targets
        """Ids of what it was done to."""
        self.status = SynteraError.status


@asynccontextmanager
async def recorded(request: Request, operation_id: str, requirement: Requirement) -> AsyncIterator[Outcome]:
    """Write the act of whoever asks; the block does it, and says with which status it ended.

    What customers do with what is theirs is no act of administration, and is not written.

    Raises:
        StoreUnavailable: It cannot be written; it must not be done.
    """
    principal = cast("Principal | None", getattr(request.state, "principal", None))
    outcome = Outcome({name: _printable(str(value)) for name, value in request.path_params.items()})
    request.state.outcome = outcome
    if principal is None or principal.contact_id is not None or not requirement.is_recorded:
        yield outcome
        return
    act_id = ActId(new_id())
    act = Act(
        id=act_id,
        at=time_of(act_id),
        operation=operation_id,
        subject=principal.subject,
        targets=outcome.targets,
        request_id=request_id_of(request),
        address=address_of(request),
    )
    audit = services_of(request).audit
    await audit.begin_act(principal.tenant_id, act)
    try:
        yield outcome
    except SynteraError as error:
        outcome.status = error.status
        raise
    except RequestValidationError:
        outcome.status = InvalidRequest.status
        raise
    finally:
        try:
            await audit.end_act(principal.tenant_id, act.id, status=outcome.status, targets=outcome.targets)
        except StoreUnavailable as error:
            log.warning("end of act not written", operation=operation_id, act_id=str(act.id), store=error.store)


def _printable(target: str) -> str:
    """A part of a path, which is whatever somebody has sent, as a record can keep it."""
    return "".join(character if character.isprintable() else "?" for character in target[:_LONGEST_TARGET])


async def _outcome_of(request: Request) -> Outcome:
    return cast("Outcome", request.state.outcome)


Recorded = Annotated[Outcome, Depends(_outcome_of)]
"""A parameter of a path operation that makes something: it adds the new thing's id to the record."""
