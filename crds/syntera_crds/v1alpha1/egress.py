"""The part of a Tenant that says what its runtime may reach by URLs that others have written, such as those of webhooks."""

from typing import Annotated

from pydantic import Field

from .cidr import CIDR
from .common import LABEL, Model
from .rules import matching

Host = Annotated[
    str,
    Field(min_length=1, max_length=253),
    matching(
        rf"^{LABEL}(\.{LABEL})*$",
        "must be a host name in lower case such as crm.tools.svc or hooks.acme.example: no scheme, port or wildcard",
    ),
]


class Egress(Model):
    """What may be reached by URLs that are given through the API, beside public hosts by https at port 443. Loopback,
    link-local, multicast and clouds' metadata services are never reached, whatever stands here."""

    hosts: Annotated[list[Host], Field(max_length=64)] = []
    """Hosts that may have private addresses, and that may be reached there by http and at any port, each to the letter. At a
    public address they are reached like all other hosts. The network lets pods through to the namespaces of
    `<service>.<namespace>.svc`; a host outside of the cluster with a private address needs its range in networks, too. Left
    out: none."""
    networks: Annotated[list[CIDR], Field(max_length=64)] = []
    """Ranges of addresses that may be reached, private or public, by http too and at any port. Left out: none."""
