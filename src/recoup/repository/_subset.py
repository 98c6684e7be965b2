"""How a part of the stored bytes is asked for: `2/7`, `5%`."""

from recoup.errors import UsageError
from recoup.repository._base import Subset


def parsed(text: str, seed: int = 0) -> Subset:
    """A subset from its spelling.

    Args:
        text: a slice such as `2/7`, or a share such as `5%`; `100%` is all.
        seed: by which the files of a share are chosen.

    Raises:
        UsageError: it is neither.
    """
    number, slash, total = text.partition("/")
    if slash and number.isdecimal() and total.isdecimal() and 1 <= int(number) <= int(total):
        return Subset(int(number), int(total))
    share = _share(text)
    if share == 1.0:
        return Subset()
    if 0 < share < 1:
        return Subset(share=share, seed=seed)
    raise UsageError(f"{text!r} is no subset", "Write a slice such as 2/7, or a share such as 5%.")


def _share(text: str) -> float:
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else 0.0
    except ValueError:
        return 0.0
