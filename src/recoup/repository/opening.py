"""From settings to a repository."""

from pathlib import Path
from typing import TYPE_CHECKING

from recoup.model.manifest import Compression, Pack
from recoup.model.structs import Struct
from recoup.repository.plain.folder import Style
from recoup.repository.plain.repository import PlainRepository
from recoup.repository.sealing._base import Sealing
from recoup.storage._base import Storage
from recoup.system.clock import Clock

if TYPE_CHECKING:
    from recoup.repository.dedup.options import DedupOptions
    from recoup.repository.dedup.unlocking import Unlocking
    from recoup.repository.keyed.template import Template


class Shape(Struct):
    """The shape of a place that other tools use, too.

    Attributes:
        template: of the artefacts' keys.
        adopts: whether retention goes for other tools' artefacts, too.
    """

    template: "Template"
    adopts: bool = False


def open_repository(
    name: str,
    storage: Storage,
    pack: Pack,
    compression: Compression,
    level: int | None,
    clock: Clock,
    sealing: Sealing | None = None,
    *,
    seal_manifest: bool = False,
    spool: Path | None = None,
    shape: Shape | None = None,
    dedup: "DedupOptions | None" = None,
    cache: Path | None = None,
    unlocking: "Unlocking | None" = None,
) -> PlainRepository:
    """The repository on a storage; it need not be there yet.

    Args:
        name: what the configuration calls it.
        storage: where.
        pack: how new trees are stored.
        compression: of new streams.
        level: the compression's own level; its usual default when None.
        clock: time.
        sealing: encrypts every stored file, and opens what is encrypted.
        seal_manifest: whether manifests are encrypted, too.
        spool: folder where large members of an archive wait when files are encrypted; the system's temporary one when None.
        shape: makes it a keyed repository; None is a folder for each set.
        dedup: makes it a dedup repository, for which nothing above says anything.
        cache: folder where a dedup repository keeps what saves reading again; None keeps nothing.
        unlocking: is opening the keys of a dedup repository already.
    """
    if dedup is not None:
        from recoup.repository.dedup.repository import DedupRepository

        return DedupRepository(name, storage, dedup, clock, cache, unlocking)
    if sealing is not None and pack == "tree":
        pack = "tar"  # each file by itself would show its name and size
    style = Style(pack, compression, level, sealing, seal_manifest, spool)
    if shape is not None:
        from recoup.repository.keyed.repository import KeyedRepository

        return KeyedRepository(name, storage, shape.template, style, clock, adopts=shape.adopts)
    return PlainRepository(name, storage, style, clock)
