"""How a part of the stored bytes is asked for: `2/7`, `5%`, `10G`. Light to import: settings are checked by it at each start."""

import re
from typing import TYPE_CHECKING

from recoup.errors import UsageError
from recoup.model.structs import Struct

if TYPE_CHECKING:
    from recoup.repository._base import Subset

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([KMGT])(|i?B)", re.IGNORECASE)
_OVERLAP = 1e-12  # of the ring: what rounding could leave out between two parts


class Portion(Struct):
    """A part of the bytes that is taken in turn: what was read longest ago comes first, so that some runs read everything.

    Attributes:
        share: of all bytes, above 0.0, up to 1.0; None for a number of bytes.
        size: bytes, about.
    """

    share: float | None = None
    size: int = 0

    def of(self, total: int, begin: float) -> "Subset":
        """What is read now.

        Args:
            total: bytes of all that could be read.
            begin: where on the ring the last part ended (0.0 to 1.0).
        """
        from recoup.repository._base import Subset

        share = self.share if self.share is not None else self.size / max(total, 1)
        return Subset() if share >= 1 else Subset(share=min(1.0, share + _OVERLAP), begin=begin)


def parsed(text: str) -> "Subset | Portion":
    """What is asked for by a spelling.

    Args:
        text: a slice such as `2/7`, a share such as `5%`, or bytes such as `10G`; `100%` is all.

    Raises:
        UsageError: it is none of these.
    """
    from recoup.repository._base import Subset

    found = checked(text)
    if isinstance(found, tuple):
        return Subset(*found)
    return Subset() if found.share == 1.0 else found


def structure_only(text: str) -> "Subset":
    """No content at all.

    Args:
        text: what is asked for besides, which has to be `100%`.

    Raises:
        UsageError: both are asked for.
    """
    from recoup.repository._base import Subset

    if text != "100%":
        raise UsageError("--structure-only reads no content, and --read-data-subset a part of it", "Give one of them.")
    return Subset(structure=True)


def checked(text: str) -> tuple[int, int] | Portion:
    """Number of the slice and of how many slices, or a portion. Raises as `parsed` does."""
    number, slash, total = text.partition("/")
    if slash and number.isdecimal() and total.isdecimal() and 1 <= int(number) <= int(total):
        return int(number), int(total)
    if 0 < (share := _share(text)) <= 1:
        return Portion(share)
    if size := _size(text):
        return Portion(size=size)
    raise UsageError(f"{text!r} is no subset", "Write a slice such as 2/7, a share such as 5%, or bytes such as 10G.")


def _share(text: str) -> float:
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else 0.0
    except ValueError:
        return 0.0


def _size(text: str) -> int:
    """Bytes; as with GNU's tools, `10G` and `10GiB` are binary, and `10GB` is decimal."""
    found = _SIZE.fullmatch(text)
    base = 1000 if found and found[3].upper() == "B" else 1024
    return int(float(found[1]) * base ** ("KMGT".index(found[2].upper()) + 1)) if found else 0
