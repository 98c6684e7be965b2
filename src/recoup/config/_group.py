"""What all groups of settings have in common: their base, names, time zones."""

import difflib
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
"""`recoup.model.names.SOURCE_NAME` as JSON schema spells it."""

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""A repository's or a source's name."""


class Group(BaseModel):
    """A group of keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)


def _time_zone(name: str) -> str:
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        nearest = difflib.get_close_matches(name, available_timezones(), 1)
        raise ValueError(
            f"'{name}' is not a time zone" + (f"; did you mean '{nearest[0]}'?" if nearest else "")
        ) from None


TimeZone = Annotated[str, AfterValidator(_time_zone)]
"""An IANA name such as Europe/Berlin."""
