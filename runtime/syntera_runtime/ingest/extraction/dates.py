"""Dates and times as documents say them."""

import re
from datetime import UTC, date, datetime, timedelta

_PDF = re.compile(r"D:(\d{4})(\d{2})?(\d{2})?(\d{2})?(\d{2})?(\d{2})?(?:([-+])(\d{2})'?(\d{2})?)?")


def read_date(value: object) -> datetime | None:
    """A time, in UTC where no zone is said; None where it is none."""
    if isinstance(value, datetime):
        found = value
    elif isinstance(value, date):
        found = datetime(value.year, value.month, value.day)  # noqa: DTZ001  # gets its zone below
    elif isinstance(value, str):
        try:
            found = datetime.fromisoformat(value.strip()[:64])
        except ValueError:
            return None
    else:
        return None
    try:
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (OverflowError, ValueError):
        return None


def read_pdf_date(value: str) -> datetime | None:
    """A time as PDF writes it: `D:20260131120000+01'00'`."""
    found = _PDF.match(value)
    if found is None:
        return None
    year, month, day, hour, minute, second, sign, hours, minutes = found.groups()
    try:
        local = datetime(
            int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=UTC
        )
        offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
        return local + offset if sign == "-" else local - offset
    except (OverflowError, ValueError):
        return None
