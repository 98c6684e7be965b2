"""How often somebody may try to sign in: each wrong try makes the next one wait longer."""

import threading
from collections import OrderedDict
from typing import Final

from recoup.model.structs import Struct
from recoup.system.clock import Clock

_FREE = 5  # wrong tries of one peer before it waits
_LONGEST = 900.0  # seconds that one peer waits at most
_FORGOTTEN = 3600.0  # seconds after which a peer begins anew
_MOST_PEERS = 1024  # that are remembered

_FREE_TOGETHER = 30  # the same for all peers together, who share the processor; never so long that the owner stays out
_LONGEST_TOGETHER = 30.0
_FORGOTTEN_TOGETHER = 300.0


class _Tries(Struct):
    """The wrong tries of somebody: how many, and when the last one was (seconds of the monotonic clock)."""

    count: int
    last: float


_NONE: Final = _Tries(0, 0.0)


class _Rule(Struct):
    """How long to wait: `free` tries do not, then one second, doubled each time, `longest` at most; all is `forgotten` then."""

    free: int
    longest: float
    forgotten: float

    def left(self, tries: _Tries, now: float) -> float:
        over = tries.count - self.free
        if over < 0 or now - tries.last > self.forgotten:
            return 0.0
        wait = min(self.longest, 2.0 ** min(over, 30))
        return max(0.0, tries.last + wait - now)

    def more(self, tries: _Tries, now: float) -> _Tries:
        begun_anew = now - tries.last > self.forgotten
        return _Tries(1 if begun_anew else tries.count + 1, now)


_ONE = _Rule(_FREE, _LONGEST, _FORGOTTEN)
_ALL = _Rule(_FREE_TOGETHER, _LONGEST_TOGETHER, _FORGOTTEN_TOGETHER)


class Attempts:
    """The tries of all peers, in memory.

    Args:
        clock: time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._peers: OrderedDict[str, _Tries] = OrderedDict()
        self._all = _NONE
        self._turn = threading.Lock()

    def begin(self, peer: str) -> float:
        """Seconds that a peer has to wait; 0 when it may try now, which then counts as wrong until `succeeded` says otherwise: so
        tries at the same time count, too.

        Args:
            peer: its address.
        """
        with self._turn:
            now = self._clock.monotonic()
            own = self._peers.get(peer, _NONE)
            wait = max(_ONE.left(own, now), _ALL.left(self._all, now))
            if wait <= 0:
                self._remember(peer, _ONE.more(own, now))
                self._all = _ALL.more(self._all, now)
            return wait

    def succeeded(self, peer: str) -> None:
        """The try of a peer was right: it begins anew."""
        with self._turn:
            self._peers.pop(peer, None)
            self._all = _Tries(max(0, self._all.count - 1), self._all.last)

    def _remember(self, peer: str, tries: _Tries) -> None:
        self._peers[peer] = tries
        self._peers.move_to_end(peer)
        while len(self._peers) > _MOST_PEERS:
            self._peers.popitem(last=False)
