"""What this host keeps of a stack's dedup repositories to save requests, and to notice that a storage shows an older state."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from recoup._opened import OpenedStack
from recoup.errors import UsageError

if TYPE_CHECKING:
    from recoup.repository.dedup.caching import CacheState, Kept


class StackWithCaches(OpenedStack):
    """A configured stack that can throw away, and make anew, what this host keeps of its dedup repositories."""

    def caches(self) -> "list[CacheState]":
        """What is kept of each, and whether its storage shows an older state than this host saw.

        Raises:
            UsageError: no repository is of layout `dedup`.
        """
        return [kept.state() for kept in self._kept()]

    def clear_caches(self) -> dict[str, int]:
        """Throws it away, but for the memory of what was seen; bytes by repository. Raises as `caches`."""
        return {kept.repository: kept.clear() for kept in self._kept()}

    def rebuild_caches(self) -> "list[CacheState]":
        """Throws it away and makes it anew. Raises as `caches`."""
        return [kept.rebuild() for kept in self._kept()]

    def accept_state(self) -> dict[str, tuple[str, ...]]:
        """Takes what each storage shows now for right; names that were missed until now, by repository. Raises as `caches`."""
        return {kept.repository: kept.accept() for kept in self._kept()}

    def _kept(self) -> "Iterator[Kept]":
        from recoup.repository.dedup.repository import DedupRepository

        found = [name for name in self._several(None) if self._settings_of(name).layout == "dedup"]
        if not found:
            raise UsageError(
                f"none of {', '.join(self._several(None))} is a dedup repository: nothing is kept of others",
                "`layout: dedup` makes one.",
            )
        for name in found:
            repository = self._at(name)
            if isinstance(repository, DedupRepository) and (kept := repository.kept()) is not None:
                yield kept
