"""Who holds something: a lock, a half-written set, a temporary folder."""

from datetime import datetime

from recoup.model.structs import Struct


class Owner(Struct):
    """A process on a machine, told apart from later ones with the same number.

    Attributes:
        host: the machine's name.
        boot: id of the machine's present boot; empty where the platform has none.
        pid: process number.
        born: the process's start time in the platform's own ticks; empty where unknown.
        since: when it took hold (UTC).
    """

    host: str
    boot: str
    pid: int
    born: str
    since: datetime
