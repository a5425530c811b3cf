"""Links without credentials: nothing of one can be changed, and none lasts."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from syntera_runtime.errors import LinkExpired, LinkRefused
from syntera_runtime.files.links import Disposition, FileLinks
from syntera_runtime.identity.derived_keys import DerivedKeys
from syntera_runtime.ids import new_id
from syntera_runtime.models.ids import FileId, TenantId
from tests.runtime.builders import TENANT
from tests.runtime.fakes import FakeSigningKey

FILE = FileId(new_id())


class Clock:
    """A time that a test sets."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make_links(clock: Clock, tenant_id: TenantId = TENANT, signing_key: FakeSigningKey | None = None) -> FileLinks:
    keys = DerivedKeys(signing_key or FakeSigningKey(), tenant_id)
    return FileLinks(tenant_id, keys.of_file_links, now=clock)


def test_link_can_be_followed_until_it_ends(clock: Clock) -> None:
    links = make_links(clock)
    link = links.make(FILE, Disposition.INLINE)
    links.check(link)
    clock.now += timedelta(minutes=15).total_seconds() - 1
    links.check(link)
    clock.now += 1
    with pytest.raises(LinkExpired):
        links.check(link)


@pytest.mark.parametrize(
    "change",
    [
        {"file_id": FileId(new_id())},
        {"disposition": Disposition.ATTACHMENT},
        {"expires": 2_000_000_000},
        {"signature": ""},
        {"signature": "0" * 64},
        {"signature": "ü"},
    ],
)
def test_link_that_was_changed_is_refused(clock: Clock, change: dict[str, Any]) -> None:
    links = make_links(clock)
    with pytest.raises(LinkRefused):
        links.check(replace(links.make(FILE, Disposition.INLINE), **change))


def test_link_of_another_tenant_or_of_a_key_before_is_refused(clock: Clock) -> None:
    link = make_links(clock).make(FILE, Disposition.INLINE)
    other_key = FakeSigningKey()
    other_key.value = b"another signing key of 32 bytes!"
    for links in (make_links(clock, TenantId(new_id())), make_links(clock, signing_key=other_key)):
        with pytest.raises(LinkRefused):
            links.check(link)
