"""What the settings of a dedup repository are handed on as."""

from pathlib import Path

from recoup.config._dedup import OPENING
from recoup.config.settings import RepositorySettings
from recoup.repository.dedup.options import DedupOptions
from recoup.storage._object_options import number_of


def dedup_options(settings: RepositorySettings, base: Path) -> DedupOptions | None:
    """What a dedup repository is opened with; None for another layout.

    Args:
        settings: of the repository.
        base: folder that relative paths are relative to.
    """
    if settings.layout != "dedup":
        return None
    files = {name: base / file.expanduser() for name in OPENING if (file := getattr(settings, name)) is not None}
    return DedupOptions(
        recipients=tuple(_recipient(text, base) for text in settings.recipients),
        grace=settings.grace,
        cache=number_of(settings.cache),
        delta=settings.delta,
        max_unused=settings.max_unused,
        **files,
    )


def _recipient(text: str, base: Path) -> str:
    """A public key as it is; else the file that it names."""
    return text if text.startswith(("age1", "ssh-")) else str(base / text)
