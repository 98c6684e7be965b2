"""Reports as JSON values. Their keys are stable; the texts for people may change."""

from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from pathlib import PurePath
from typing import Any

SHOWN_PROPERTIES = ("exit_code", "passed", "spread_ms", "rto_seconds", "rpo_seconds", "change", "days_until_full")
"""Properties that people read, and that are written beside the fields of those values that have them."""


def plain(value: Any) -> Any:
    """A frozen value as JSON types; times as ISO 8601, with the properties that people read added by name."""
    if is_dataclass(value) and not isinstance(value, type):
        found = {f.name: plain(getattr(value, f.name)) for f in fields(value) if not f.name.startswith("_")}
        for name in SHOWN_PROPERTIES:
            if isinstance(getattr(type(value), name, None), property):
                found[name] = plain(getattr(value, name))
        return found
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, dict) or hasattr(value, "items"):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
