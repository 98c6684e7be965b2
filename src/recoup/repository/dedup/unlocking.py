"""Opening a repository's keys while the rest of the program is still being loaded: stretching a passphrase takes as long."""

import contextlib
import threading

from recoup.errors import RecoupError
from recoup.repository.dedup import keyslots
from recoup.repository.dedup.keys import Keys
from recoup.repository.dedup.options import DedupOptions
from recoup.repository.dedup.record import read_record
from recoup.storage._base import Storage


class Unlocking:
    """The keys, being opened in a thread.

    Args:
        storage: of the repository, which need not be there yet.
        options: its settings.
    """

    def __init__(self, storage: Storage, options: DedupOptions) -> None:
        self._storage, self._options = storage, options
        self._keys: Keys | None = None
        self._thread: threading.Thread | None = None
        if options.password_file is not None:  # nothing else takes long
            self._thread = threading.Thread(target=self._work, name="unlocking", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        with contextlib.suppress(RecoupError, OSError):  # whoever needs the keys meets it again, and tells
            self._keys = keyslots.open_keys(self._storage, read_record(self._storage), self._options)

    def keys(self) -> Keys | None:
        """The keys; None where they were not opened, for whatever reason."""
        if self._thread is not None:
            self._thread.join()
        return self._keys
