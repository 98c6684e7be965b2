"""What a prune frees, and what a copy sends, where sets share their content."""

from recoup.model.structs import Struct


class Reclaim(Struct):
    """What becomes of space, or became of it.

    Attributes:
        freed_bytes: what the storage gets back at once.
        later_bytes: what it gets back by a prune after the grace time: until then, a backup that began earlier may use it.
        copied_bytes: content in use that is stored anew, so that what lies between it can go.
        grace_seconds: the grace time.
        lost: pieces of content that sets use and the repository lacks.
        harmed: pieces of content that were found damaged on the way; what has them stays.
    """

    freed_bytes: int
    later_bytes: int
    copied_bytes: int
    grace_seconds: float
    lost: int = 0
    harmed: int = 0


class Sent(Struct):
    """What goes from one repository into another one without being taken apart.

    Attributes:
        files: stored files that are taken over as they lie there.
        file_bytes: bytes of these.
        chunks: chunks that are taken over one by one, since only few of their file are wanted, or the file cannot be.
        chunk_bytes: what these take.
    """

    files: int = 0
    file_bytes: int = 0
    chunks: int = 0
    chunk_bytes: int = 0

    @property
    def bytes(self) -> int:
        """What it takes."""
        return self.file_bytes + self.chunk_bytes
