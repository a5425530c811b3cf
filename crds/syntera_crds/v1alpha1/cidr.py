"""Ranges of addresses."""

import re
from ipaddress import IPv6Address, ip_address
from typing import Annotated

from pydantic import Field

from .rules import Rule

_SHAPE = "^[0-9a-fA-F.:]+/(0|[1-9][0-9]{0,2})$"
_LONGEST = len("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128")


def _is_cidr(text: str) -> bool:
    """As the API server judges: bits beyond the prefix may be set, IPv4 in IPv6 is refused."""
    if not re.fullmatch(_SHAPE, text, re.ASCII):
        return False
    address, bits = text.split("/")
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    is_mapped = isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None
    return int(bits) <= parsed.max_prefixlen and not is_mapped


CIDR = Annotated[
    str,
    Field(min_length=1, max_length=_LONGEST),
    Rule(
        f"self.matches(r'{_SHAPE}') && isCIDR(self)",
        "must be a range of addresses such as 10.0.0.0/8 or 2001:db8::/32; a single one ends in /32, or in /128",
        holds=_is_cidr,
    ),
]
