"""TIMESTAMPTZ: points in time, kept as an INT64 field with microseconds since 1970 in UTC.

Going in they are ISO 8601 text, or datetimes; text without an offset is in the collection's time zone (the property
"timezone", else its database's, else UTC). Coming out they are ISO 8601 text in that zone, or in the one that was asked for.
"""

from __future__ import annotations

import datetime
import re
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence

from .exceptions import INVALID_PARAMETER, DataNotMatchException, MilvusException

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
MICROSECOND = datetime.timedelta(microseconds=1)
#: What time_fields may ask for.
PARTS = ("year", "month", "day", "hour", "minute", "second", "microsecond")
#: Quoted text in a filter, with the word before it that gives it a meaning.
_QUOTED = re.compile(r"(?:\b(ISO|INTERVAL)\s+)?('(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\")", re.I | re.S)
_INTERVAL = re.compile(
    r"([+-]?)P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d{1,6})?)S)?)?", re.I
)


def zone_of(name: Any) -> datetime.tzinfo:
    """A time zone by its IANA name."""
    import zoneinfo

    if name in (None, "", "UTC"):
        return datetime.timezone.utc
    try:
        return zoneinfo.ZoneInfo(str(name))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise MilvusException(INVALID_PARAMETER, f"unknown or invalid IANA Time Zone ID: {name}: invalid parameter") from None


def to_micros(field: str, value: Any, zone: datetime.tzinfo) -> Optional[int]:
    """Microseconds since 1970 of a text or datetime."""
    if value is None:
        return None
    if isinstance(value, str):
        text = re.sub(r"[zZ]$", "+00:00", value.strip())
        fraction = re.search(r"\.(\d+)", text)
        if fraction:  # before 3.11 exactly three or six digits are taken
            text = text.replace(fraction[0], "." + fraction[1][:6].ljust(6, "0"), 1)
        try:
            value = datetime.datetime.fromisoformat(text)
        except ValueError:
            raise DataNotMatchException(message=f"got invalid timestamptz string: {value!r} for field {field}") from None
    if not isinstance(value, datetime.datetime):
        raise DataNotMatchException(message=f"field {field}: TIMESTAMPTZ takes ISO 8601 text or a datetime, got {type(value).__name__}")
    if value.tzinfo is None:
        value = value.replace(tzinfo=zone)
    micros: int = (value - EPOCH) // MICROSECOND
    return micros


def from_micros(micros: int, zone: datetime.tzinfo, parts: Sequence[str] = ()) -> Any:
    """ISO 8601 text in a zone; with parts, those numbers."""
    when = (EPOCH + micros * MICROSECOND).astimezone(zone)
    if parts:
        return [getattr(when, part) for part in parts]
    return re.sub(r"\+00:00$", "Z", when.isoformat())


def interval_micros(text: str) -> int:
    """Microseconds of an ISO 8601 duration."""
    found = _INTERVAL.fullmatch(text.strip())
    if found is None or not any(found.groups()[1:]):
        raise MilvusException(INVALID_PARAMETER, f"invalid interval {text!r}: ISO 8601 expected, such as 'P1DT2H'")
    sign, years, months, weeks, days, hours, minutes, seconds = found.groups()
    if int(years or 0) or int(months or 0):
        raise MilvusException(INVALID_PARAMETER, f"interval {text!r}: years and months differ in length; say days")
    length = datetime.timedelta(
        weeks=int(weeks or 0), days=int(days or 0), hours=int(hours or 0), minutes=int(minutes or 0), seconds=float(seconds or 0)
    )
    return (length // MICROSECOND) * (-1 if sign == "-" else 1)


def filter_text(text: Optional[str], zone: datetime.tzinfo) -> Optional[str]:
    """A filter with ISO '...' and INTERVAL '...' as numbers. Other quoted text stays as it is."""

    def number(found: "re.Match[str]") -> str:
        word = (found[1] or "").upper()
        if not word:
            return found[0]
        inside = found[2][1:-1]
        if word == "INTERVAL":
            return str(interval_micros(inside))
        try:
            return str(to_micros("of a filter", inside, zone))
        except DataNotMatchException as error:
            raise MilvusException(INVALID_PARAMETER, f"cannot parse expression: {error.message}") from None

    return _QUOTED.sub(number, text) if text else text


def parts_of(wanted: Any) -> List[str]:
    """time_fields: "year, month" or a list."""
    if not wanted:
        return []
    names = [name.strip() for name in (wanted.split(",") if isinstance(wanted, str) else wanted)]
    for name in names:
        if name not in PARTS:
            raise MilvusException(INVALID_PARAMETER, f"time_fields: {name!r} is none of {', '.join(PARTS)}")
    return names


class Times:
    """The TIMESTAMPTZ fields of one collection, in the zone of one request."""

    def __init__(self, names: Iterable[str], zone: Any) -> None:
        self.names = list(names)
        self.zone = zone_of(zone)

    def rows(self, rows: Sequence[Mapping[str, Any]]) -> List[Dict[str, Any]]:
        """Rows that go in."""
        return [{**row, **{name: to_micros(name, row[name], self.zone) for name in self.names if name in row}} for row in rows]

    def columns(self, columns: Mapping[str, Any]) -> Dict[str, Any]:
        """Columns that go in."""
        return {
            name: [to_micros(name, value, self.zone) for value in values] if name in self.names else values
            for name, values in columns.items()
        }

    def show(self, row: Dict[str, Any], more: Optional[Mapping[str, Any]]) -> None:
        """One row that comes out, in place."""
        zone = zone_of(more["timezone"]) if more and more.get("timezone") else self.zone
        parts = parts_of(more.get("time_fields")) if more else []
        for name in self.names:
            if isinstance(row.get(name), int):
                row[name] = from_micros(row[name], zone, parts)
