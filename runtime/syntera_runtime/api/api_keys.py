"""The tenant's API keys, for its administrators."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Path, status

from ..models.ids import ApiKeyId
from .audit import Recorded
from .auth import Asker
from .context import ServicesOfRequest
from .identity_schemas import ApiKeyView, CreatedApiKey, IdentitySecret, NewKey
from .pages import WantedPage, make_cursor
from .problems import problem_responses
from .routing import ApiRoute
from .schemas import Page

router = APIRouter(route_class=ApiRoute, tags=["api-keys"])

KeyInPath = Annotated[UUID, Path(alias="apiKeyId")]


@router.post(
    "/v1/api-keys",
    operation_id="createApiKey",
    status_code=status.HTTP_201_CREATED,
    responses=problem_responses(400, 408, 413, 415, 503),
)
async def create_api_key(
    wanted: Annotated[NewKey, Body()], services: ServicesOfRequest, asker: Asker, outcome: Recorded
) -> CreatedApiKey:
    """Make a key. Keep its text: it is shown this once."""
    key, record = await services.key_management.create(asker, wanted.to_model())
    outcome.targets["apiKeyId"] = str(record.key.id)
    return CreatedApiKey(**ApiKeyView.of(record).model_dump(), key=key.text)


@router.get("/v1/api-keys", operation_id="listApiKeys", responses=problem_responses(400, 503))
async def list_api_keys(page: WantedPage, services: ServicesOfRequest, asker: Asker) -> Page[ApiKeyView]:
    """All keys, oldest first, revoked and expired ones too."""
    after = page.after
    found = await services.key_management.list(
        asker.tenant_id, after=None if after is None else ApiKeyId(after), limit=page.limit + 1
    )
    items = found[: page.limit]
    return Page(
        items=[ApiKeyView.of(record) for record in items],
        next_cursor=make_cursor(items[-1].key.id) if len(found) > page.limit else None,
    )


@router.delete(
    "/v1/api-keys/{apiKeyId}",
    operation_id="revokeApiKey",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problem_responses(400, 404, 408, 413, 415, 503),
)
async def revoke_api_key(api_key_id: KeyInPath, services: ServicesOfRequest, asker: Asker) -> None:
    """Revoke a key, within five seconds everywhere; of a publishable one also the tokens that it bought.

    It stays in the list. Doing it again changes nothing.
    """
    await services.key_management.revoke(asker.tenant_id, ApiKeyId(api_key_id))


@router.get(
    "/v1/api-keys/{apiKeyId}/identity-secret",
    operation_id="getIdentitySecret",
    responses=problem_responses(400, 404, 503),
)
async def get_identity_secret(api_key_id: KeyInPath, services: ServicesOfRequest, asker: Asker) -> IdentitySecret:
    """What a site vouches for its users with, beside a publishable key."""
    return IdentitySecret(secret=await services.key_management.identity_secret(asker.tenant_id, ApiKeyId(api_key_id)))
