"""How a part of the stored bytes is asked for: `2/7`, `5%`. Light to import: settings are checked by it at each start."""

from typing import TYPE_CHECKING

from recoup.errors import UsageError

if TYPE_CHECKING:
    from recoup.repository._base import Subset


def parsed(text: str, seed: int = 0) -> "Subset":
    """A subset from its spelling.

    Args:
        text: a slice such as `2/7`, or a share such as `5%`; `100%` is all.
        seed: by which the files of a share are chosen.

    Raises:
        UsageError: it is neither.
    """
    from recoup.repository._base import Subset

    number, of, share = checked(text)
    return Subset(number, of) if share in (None, 1.0) else Subset(share=share, seed=seed)


def checked(text: str) -> tuple[int, int, float | None]:
    """Number of the slice, of how many slices, or, without one, the share (above 0.0, up to 1.0).

    Raises:
        UsageError: it is neither.
    """
    number, slash, total = text.partition("/")
    if slash and number.isdecimal() and total.isdecimal() and 1 <= int(number) <= int(total):
        return int(number), int(total), None
    share = _share(text)
    if 0 < share <= 1:
        return 1, 1, share
    raise UsageError(f"{text!r} is no subset", "Write a slice such as 2/7, or a share such as 5%.")


def _share(text: str) -> float:
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else 0.0
    except ValueError:
        return 0.0
