"""The settings of `layout: dedup`: their types, and what goes together."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from recoup.repository.dedup.options import GRACE, MAX_UNUSED

OPENING = ("password_file", "key_file", "identity_file", "writer_key_file")
"""What a repository is opened with: one of them."""

USUAL = {"grace": GRACE, "max_unused": MAX_UNUSED}
"""The values of keys whose defaults are written as texts."""

_OWN = (*OPENING, "recipients", "keys_of", "grace", "cache", "delta", "max_unused")
_STRANGE = ("pack", "compression", "compression_level", "encrypt", "encrypt_manifest")
_SHORTEST_GRACE = timedelta(hours=1)


def _share(value: Any) -> float:
    text = str(value).strip()
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = -1.0
    if not 0 <= number <= 100 or isinstance(value, bool):
        raise ValueError(f"{text!r} is no share; write a percentage from 0% to 100%, as in 10%")
    return number


def _spelled(percent: float) -> str:
    return f"{percent:g}%"


Percent = Annotated[
    float,
    BeforeValidator(_share),
    PlainSerializer(_spelled, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]{1,3})?%?$"}),
]
"""A share of a hundred, as `10%`. A default is written as a text, `Field("10%", validate_default=True)`."""


def check(layout: str, given: frozenset[str], grace: timedelta) -> None:
    """Refuses what has no meaning together.

    Args:
        layout: of the repository.
        given: names of all keys that are not as they are without being written.
        grace: the value of that key.

    Raises:
        ValueError: the message is "problem; advice".
    """
    if layout != "dedup":
        _refuse(given, _OWN, "has no meaning without `layout: dedup`; remove it")
        return
    _refuse(given, _STRANGE, "has no meaning with `layout: dedup`, which packs, compresses and encrypts; remove it")
    _check_opening([name for name in OPENING if name in given])
    if grace < _SHORTEST_GRACE:
        raise ValueError("`grace` protects backups that run while a prune does; write at least 1h")


def _refuse(given: frozenset[str], names: Iterable[str], why: str) -> None:
    found = [name for name in names if name in given]
    if found:
        raise ValueError(f"`{found[0]}` {why}")


def _check_opening(given: Sequence[str]) -> None:
    if len(given) > 1:
        raise ValueError(f"`{given[0]}` and `{given[1]}` are both given; keep the one that opens the repository")
    if not given:
        raise ValueError(
            "there is nothing to open the repository with; add `password_file`, `key_file`, `identity_file` or `writer_key_file`"
        )
