"""Opening a repository's keys while the rest of the program is still being loaded: stretching a passphrase takes as long."""

import contextlib
import threading

from recoup.errors import RecoupError
from recoup.repository.dedup import keyslots
from recoup.repository.dedup.keys import Keys
from recoup.repository.dedup.options import DedupOptions
from recoup.repository.dedup.record import Record, read_record
from recoup.storage._base import Storage
from recoup.system.clock import Clock


class Unlocking:
    """The keys, being opened in a thread.

    Args:
        storage: of the repository, which need not be there yet.
        options: its settings.
        clock: time.
    """

    def __init__(self, storage: Storage, options: DedupOptions, clock: Clock) -> None:
        self._storage, self._options, self._clock = storage, options, clock
        self._keys: Keys | None = None
        self._record: tuple[float, Record] | None = None
        self._has_record = threading.Event()
        self._thread: threading.Thread | None = None
        if options.password_file is not None:  # nothing else takes long
            self._thread = threading.Thread(target=self._work, name="unlocking", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        with contextlib.suppress(RecoupError, OSError):  # whoever needs the keys meets it again, and tells
            asked = self._clock.monotonic()
            try:
                self._record = asked, read_record(self._storage)
            finally:
                self._has_record.set()
            self._keys = keyslots.open_keys(self._storage, self._record[1], self._options)

    def record(self, seconds: float) -> Record | None:
        """What the repository says of itself, where it was asked so many seconds ago or less; else None."""
        if self._thread is not None:
            self._has_record.wait()
        found = self._record
        return found[1] if found is not None and self._clock.monotonic() - found[0] <= seconds else None

    def note(self, record: Record) -> None:
        """Is told what somebody else has just read: the next one need not."""
        self._record = self._clock.monotonic(), record

    def keep(self, keys: Keys) -> None:
        """Is told what somebody else opened."""
        self._keys = keys

    def keys(self) -> Keys | None:
        """The keys; None where they were not opened, for whatever reason."""
        if self._thread is not None:
            self._thread.join()
        return self._keys
