"""A drill on a running server: a set restored under scratch names, captured again, compared, and removed.

What is compared are the facts of a capture: everything passes through the server twice, and nothing that it only claims counts.
"""

import contextlib
import dataclasses
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Self

from pydantic import BaseModel, SecretStr

from recoup.errors import RestoreError
from recoup.model.facts import Facts, Value
from recoup.model.part import Part, StreamPart
from recoup.sources._base import Placement, Site, Source
from recoup.sources._staged import StagedBytes
from recoup.sources.qdrant._drill_leftovers import PURPOSE, delete
from recoup.sources.qdrant._faults import ServerError
from recoup.sources.qdrant._gathering import read_record
from recoup.sources.qdrant._options import KEY, Options
from recoup.sources.qdrant._record import RECORD, CollectionRecord, encode
from recoup.sources.qdrant._restore_options import DrillOptions, RestoreOptions
from recoup.sources.qdrant.server import QdrantSource
from recoup.system.journal import Journal
from recoup.system.tempdirs import remove_tree


class OnServer(QdrantSource):
    """A source whose twin is on a server.

    Args:
        options: of the source.
        site: of the source.
        url: of the server.
    """

    def __init__(self, options: Options, site: Site, url: str) -> None:
        super().__init__(options, site)
        self._url = url

    @classmethod
    def of(cls, source: QdrantSource, url: str) -> Self:
        """The same source, with its twin on a server."""
        return cls(*source.given, url)

    @contextlib.contextmanager
    def scratch(self, folder: Path) -> Iterator[Source]:
        """A twin on the server; its collections are removed on leaving."""
        staging = Path(tempfile.mkdtemp(prefix="qdrant-", dir=folder))
        site = dataclasses.replace(self._site, staging=staging)
        key = self._options.api_key if self._url.rstrip("/") == self._options.url.rstrip("/") else _key()
        changed = {"url": self._url, "api_key": key, "nodes": (), "quiesce": None, "allow_empty": True}
        twin = ServerTwin(self._options.model_copy(update=changed), site)
        try:
            yield twin
        finally:
            twin.remove()
            remove_tree(staging)


def _key() -> SecretStr | None:
    found = os.environ.get(KEY, "")
    return SecretStr(found) if found else None


class ServerTwin(QdrantSource):
    """Collections under scratch names on a server."""

    def __init__(self, options: Options, site: Site) -> None:
        super().__init__(options, site)
        self._prefix = f"recoup_drill_{secrets.token_hex(8)}"
        self._journal = Journal.begin(PURPOSE)
        self._names: dict[str, CollectionRecord] = {}

    def restore(self, parts: Iterable[Part], options: BaseModel) -> Placement:  # noqa: ARG002 - a drill's are its own
        """Restores every collection under a scratch name."""
        return super().restore(self._renamed(parts), RestoreOptions())

    def _renamed(self, parts: Iterable[Part]) -> Iterator[Part]:
        for part in parts:
            if part.name.rpartition("/")[2] != RECORD or not isinstance(part, StreamPart):
                yield part
                continue
            record = read_record(part)
            name = f"{self._prefix}_{len(self._names)}"
            self._journal.add({"url": self._options.without_secrets()["url"], "name": name})
            self._names[name] = record
            aliases = tuple(f"{name}_{number}" for number in range(len(record.aliases)))
            changed = dataclasses.replace(record, name=name, aliases=aliases)
            yield StreamPart(part.name, StagedBytes(encode(changed)))

    def facts(self) -> Facts:
        """What a capture of the scratch collections shows, under their own names.

        Raises:
            SourceError: they cannot be captured.
        """
        methods = {record.method for record in self._names.values()}
        options = self._options.model_copy(
            update={"collections": (f"{self._prefix}_*",), "method": methods.pop() if len(methods) == 1 else "auto"}
        )
        with QdrantSource(options, self._site).capture() as capture:
            for _ in capture.parts():
                pass
            found = capture.facts()
            doubts = [finding for finding in capture.findings() if not finding.harmless]
        if doubts:
            raise RestoreError(f"what was restored cannot be read back: {doubts[0].message}")
        values = {self._own(subject): self._own_values(subject, of) for subject, of in found.values.items()}
        probes = tuple(
            dataclasses.replace(probe, collection=self._names[probe.collection].name) for probe in found.probes
        )
        return Facts(values, probes, found.seed)

    def _own(self, subject: str) -> str:
        """A subject with the collection's own name instead of the scratch one."""
        word, _, rest = subject.partition(" ")
        name, separator, more = rest.partition(" ")
        return f"{word} {self._names[name].name}{separator}{more}" if name in self._names else subject

    def _own_values(self, subject: str, values: Mapping[str, Value]) -> dict[str, Value]:
        """Values with the aliases' own names instead of the scratch ones, where just the expected ones lead there."""
        name = subject.split(" ")[1] if " " in subject else ""
        record = self._names.get(name)
        own = dict(values)
        if record is not None and "aliases" in own:
            expected = ", ".join(sorted(f"{name}_{number}" for number in range(len(record.aliases))))
            if own["aliases"] == expected:
                own["aliases"] = ", ".join(record.aliases)
        return own

    def remove(self) -> None:
        """Deletes the scratch collections; what cannot be deleted now, the next cleanup does."""
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(self._servers()[0].again())
            try:
                for name in self._names:
                    delete(server, name)
            except ServerError:
                return
        self._journal.forget()


def drilled(source: QdrantSource, options: DrillOptions) -> QdrantSource:
    """The source whose twin a drill makes: in a folder, or on the server that was asked for."""
    return OnServer.of(source, options.server) if options.server else source
