"""What a restore says of a place. Apart from the promise of a source, whose settings take long to load: children need it, too."""

from collections.abc import Mapping
from dataclasses import field

from recoup.model.structs import Struct


class Placement(Struct):
    """What a restore did to a live place.

    Attributes:
        target: what was written, for people.
        kept: where what was there before is kept; empty when nothing was there.
        counted: what was counted there afterwards, and is what was recorded: `points of docs` to their number; empty where
            nothing is counted.
    """

    target: str
    kept: str = ""
    counted: Mapping[str, int] = field(default_factory=dict)
