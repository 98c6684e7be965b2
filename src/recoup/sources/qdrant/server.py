"""The collections of a running Qdrant server, or of a cluster of them.

How they are captured is chosen for each run (`_choosing`), what each way guarantees stands in `docs/howto`. A restore goes beside
what is there and switches names (`_restore`); a drill needs no server (`_twin`).
"""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from recoup.errors import SourceError
from recoup.model.facts import Facts
from recoup.model.part import Part
from recoup.sources._base import (
    Capture,
    Existing,
    PieceCapture,
    Placement,
    Recall,
    Site,
    Source,
    SourceOptions,
    Symptom,
)
from recoup.sources.qdrant import _choosing
from recoup.sources.qdrant._addresses import require_allowed
from recoup.sources.qdrant._capture import ServerCapture, captured
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._faults import UnreachableError
from recoup.sources.qdrant._increments import mistrusted
from recoup.sources.qdrant._inventory import Collection, Inventory, choose, look
from recoup.sources.qdrant._leftovers import take_back
from recoup.sources.qdrant._options import Options
from recoup.sources.qdrant._restore_options import DrillOptions, RestoreOptions
from recoup.sources.qdrant._trusting import authority_of

__all__ = ["DrillOptions", "Options", "QdrantSource", "RestoreOptions", "connect"]

_POINT = 350  # bytes of a point beside its vectors: payload, ids, indexes; a guess
_SHARD = 200_000  # bytes of an empty shard


class QdrantSource:
    """One server or cluster."""

    exact = False

    def __init__(self, options: Options, site: Site) -> None:
        self.options: SourceOptions = options
        self._options = options
        self._site = site
        self._recall = site.recall

    # --- looking -----------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Asks the server, and tries what the method needs by calls that change nothing.

        Raises:
            SourceError: nobody answers, a pattern matches nothing, or the key lacks a right.
            RefusedError: it is not this machine, and `allow_remote` is off.
        """
        with self._inventory() as inventory:
            for collection in self._chosen(inventory):
                if self._options.method == "scroll":
                    return
                may = _choosing.rights(inventory, collection)
                _choosing.methods(self._options, inventory, collection, may, shards=1, shared=False)
                if may.everywhere:
                    return

    def present(self) -> bool:
        """Whether somebody answers there."""
        require_allowed(self._options.url, allow_remote=self._site.allow_remote)
        with self._server() as server:
            return server.answers() and bool(server.version)

    def diagnose(self) -> Iterator[Symptom]:
        """How the server and the chosen collections are, and what the key may do.

        Raises:
            SourceError: nobody answers.
        """
        from recoup.sources.qdrant._diagnosing import diagnose

        with self._inventory() as inventory:
            yield from diagnose(inventory, self._chosen(inventory), self._options)

    def estimate(self) -> int:
        """Bytes of the chosen collections, from their points and vectors; nothing is read."""
        with self._inventory() as inventory:
            return sum(_bytes(collection) for collection in self._chosen(inventory))

    def settings(self) -> Mapping[str, Any]:
        """The settings, without the key and without what is secret in URLs."""
        return self._options.without_secrets()

    @contextlib.contextmanager
    def _server(self) -> Iterator[Server]:
        with self._servers()[0] as server:
            yield server

    def _servers(self) -> list[Server]:
        options = self._options
        return [
            Server(
                url,
                options.key,
                timeout=options.timeout,
                connect_timeout=options.connect_timeout,
                clock=self._site.clock,
                authority=authority_of(options.ca_file, self._site.base),
            )
            for url in dict.fromkeys((options.url, *options.nodes))
        ]

    @contextlib.contextmanager
    def _inventory(self) -> Iterator[Inventory]:
        with contextlib.ExitStack() as stack:
            servers = [stack.enter_context(server) for server in self._servers()]
            inventory = look(servers, allow_remote=self._site.allow_remote)
            for node in inventory.nodes:
                stack.enter_context(node.server)
            yield inventory

    def _chosen(self, inventory: Inventory) -> Iterator[Collection]:
        patterns, allow_empty = self._options.collections, self._options.allow_empty
        for name in choose(inventory.names, patterns, allow_empty=allow_empty, aliases=inventory.aliases):
            yield inventory.collection(name)

    # --- capture -----------------------------------------------------------------------------------------------------

    def capture(self) -> contextlib.AbstractContextManager[ServerCapture]:
        """Freezes the chosen collections together. What is captured once more is taken in full, whatever an earlier set has.

        Raises:
            EmptySourceError: a pattern matches nothing.
            SourceError: nobody answers, the key lacks a right, or writing could not be stopped.
        """
        recall, self._recall = self._recall, mistrusted if self._recall else None
        return self._captured(None, recall)

    @contextlib.contextmanager
    def _captured(self, names: Sequence[str] | None, recall: Recall | None = None) -> Iterator[ServerCapture]:
        shared = self._site.shared
        with (
            self._inventory() as inventory,
            captured(self._options, self._site, inventory, shared=shared, names=names, recall=recall) as capture,
        ):
            yield capture

    def facts(self) -> Facts:
        """What the chosen collections show now: they are captured and dropped again."""
        with self.capture() as capture:
            for _ in capture.parts():
                pass
            return capture.facts()

    # --- capture in pieces -------------------------------------------------------------------------------------------

    def pieces(self) -> Sequence[Mapping[str, Any]]:
        """Shards, or whole collections, that several machines can take; none where it has to be captured at once (`quiesce`).

        Raises:
            EmptySourceError: a pattern matches nothing.
            SourceError: nobody answers, or the key lacks a right.
        """
        from recoup.sources.qdrant._dividing import divide, values_of

        with self._inventory() as inventory:
            return [values_of(piece) for piece in divide(self._options, self._site, inventory)]

    @contextlib.contextmanager
    def piece(self, piece: Mapping[str, Any]) -> Iterator[PieceCapture]:
        """Freezes one of them, on any machine.

        Raises:
            SourceError: nobody answers.
        """
        from recoup.sources.qdrant import _dividing

        wanted = _dividing.piece_of(piece)
        site = dataclasses.replace(self._site, seed=wanted.seed)
        with self._inventory() as inventory:
            _dividing.tidy(inventory, site)
            with captured(self._options, site, inventory, names=[wanted.collection], only=wanted.only) as capture:
                yield _dividing.PieceCapture(capture, wanted)

    @contextlib.contextmanager
    def joined(
        self, pieces: Sequence[Mapping[str, Any]], notes: Sequence[Mapping[str, Any] | str]
    ) -> Iterator[Capture]:
        """The collections that the pieces make together; its parts are their records.

        Raises:
            SourceError: no collection could be taken, or it cannot be taken in pieces.
        """
        from recoup.sources.qdrant._joining import JoinedCapture

        if self._options.quiesce is not None:
            raise SourceError(
                "collections that `quiesce` makes stand still together cannot be captured in pieces",
                "Take `quiesce` away from this source, or back it up without workers.",
            )
        now = None
        with contextlib.suppress(SourceError), self._inventory() as inventory:
            now = inventory.names
        yield JoinedCapture(pieces, notes, now, self._site.clock.now())

    # --- restore -----------------------------------------------------------------------------------------------------

    def recover(self) -> tuple[str, ...]:
        """Deletes the snapshots and half-made collections that killed runs left on this server."""
        from recoup.sources.qdrant._cleanup import cleanup

        with contextlib.suppress(UnreachableError), self._inventory() as inventory:
            nodes = {node.server.url: node.server for node in inventory.nodes}
            return (*take_back(nodes), *cleanup(tuple(nodes.values()), self._site.clock, spare_begun=True))
        return ()

    def existing(self) -> Existing:
        """The server; what a restore does depends on the set (`foresee`)."""
        url = self.settings()["url"]
        if not self.present():
            return Existing(
                url, present=False, description="nobody answers", consequence="It has to run for a restore."
            )
        with self._inventory() as inventory:
            count = len(inventory.names)
        consequence = "Collections are made beside those that are there, and names are switched at the end."
        return Existing(url, present=count > 0, description=f"server with {count} collections", consequence=consequence)

    def foresee(self, parts: Iterable[Part], options: BaseModel) -> Existing:
        """What a restore of these parts would meet and do."""
        from recoup.sources.qdrant._foreseeing import foresee

        with contextlib.ExitStack() as stack:
            servers = [stack.enter_context(server) for server in self._servers()]
            return foresee(parts, _restore_options(options), servers, self._site)

    def restore(self, parts: Iterable[Part], options: BaseModel) -> Placement:
        """Puts collections beside what is there, checks them, and switches names.

        Raises:
            DamagedError: the stored bytes are wrong; nothing is switched.
            RestoreError: it failed; what answered before still does.
        """
        from recoup.sources.qdrant._restore import restore_collections

        with contextlib.ExitStack() as stack:
            servers = [stack.enter_context(server) for server in self._servers()]
            return restore_collections(parts, _restore_options(options), servers, self._site, self.copying)

    def copying(self, name: str, staging: Path) -> contextlib.AbstractContextManager[ServerCapture]:
        """Captures one collection, whatever the settings choose, staged in a folder."""
        site = dataclasses.replace(self._site, staging=staging)
        return QdrantSource(self._options, site)._captured([name])  # noqa: SLF001 - of its own kind

    def scratch(self, folder: Path) -> contextlib.AbstractContextManager[Source]:
        """A twin without a server, in a folder."""
        from recoup.sources.qdrant._twin import scratch

        return scratch(self._options, self._site, folder)

    @property
    def given(self) -> tuple[Options, Site]:
        """What it was made from."""
        return self._options, self._site


def _restore_options(options: BaseModel) -> RestoreOptions:
    if not isinstance(options, RestoreOptions):
        raise SourceError(f"{type(options).__name__} are no options of a restore to Qdrant")
    return options


def _bytes(collection: Collection) -> int:
    params = collection.config.get("params", {})
    vectors = params.get("vectors") or {}
    named = [vectors] if "size" in vectors else list(vectors.values())
    numbers = sum(int(one.get("size", 0)) for one in named if isinstance(one, dict))
    return collection.points * (4 * numbers + _POINT) + max(1, len(collection.shards)) * _SHARD


def connect(options: Options, site: Site) -> QdrantSource:
    """The source that the settings describe."""
    return QdrantSource(options, site)
