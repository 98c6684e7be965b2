"""Writing a set: parts first, hashed and compressed on the way, the manifest last, one rename."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from recoup.errors import RefusedError
from recoup.model.manifest import Manifest, encode
from recoup.model.names import SetName
from recoup.repository.plain import layout
from recoup.repository.plain.folder import SetFolder, Style
from recoup.repository.plain.once import Earlier, nothing_earlier
from recoup.repository.plain.sinks import PlainStreamSink, PlainTarSink, PlainTreeSink
from recoup.storage._base import Storage
from recoup.system.host import holder_token, token_is_dead


class PlainSetWriter(SetFolder):
    """A set being written below a prefix that nobody reads."""

    def __init__(
        self, storage: Storage, prefix: str, name: SetName, style: Style, earlier: Earlier = nothing_earlier
    ) -> None:
        super().__init__(storage, prefix, style)
        self._name, self._earlier = name, earlier

    @property
    def name(self) -> SetName:
        """The name that the set gets; final after `commit`."""
        return self._name

    def stream(
        self,
        source: str,
        name: str,
        size: int | None,  # noqa: ARG002 - for others to plan with
        *,
        once: bool = False,
    ) -> PlainStreamSink:
        """Begins a stream part; one that is stored once is not compressed."""
        if not once:
            return PlainStreamSink(self, source, name, self.style)
        self._require_open(source)
        return PlainStreamSink(self, source, name, replace(self.style, compression="none"), self._earlier(source, name))

    def tree(self, source: str, name: str, *, once: bool = False) -> "PlainTreeSink | PlainTarSink":
        """Begins a tree part; one that is stored once is stored as a tree whatever the style."""
        if once:
            self._require_open(source)
            return PlainTreeSink(self, source, name, self._earlier(source, name))
        if self.style.pack == "tree":
            return PlainTreeSink(self, source, name)
        return PlainTarSink(self, source, name, self.style)

    def _require_open(self, source: str) -> None:
        """An encrypted copy is another one each time, so there is nothing that two sets could share."""
        if self.method is not None:
            raise RefusedError(
                f"source {source} has `store_once`, which does not work in an encrypted repository",
                "Take `store_once` away, or put this source into a repository of its own without `encrypt`.",
            )

    def commit(self, manifest: Manifest) -> None:
        """Writes checksums and manifest, makes all durable, then lets the set appear under the next free name."""
        manifest = self.with_secrets_apart(manifest)
        while True:
            self.write_manifest(encode(replace(manifest, name=str(self._name))), manifest.sealing)
            self.storage.sync(self.prefix)
            try:
                self.storage.move(self.prefix, str(self._name))
            except FileExistsError:
                self._name = self._name.next()
                continue
            return


@contextlib.contextmanager
def new_set(
    storage: Storage,
    name: SetName,
    style: Style,
    earlier: Earlier = nothing_earlier,
    writer: type[PlainSetWriter] = PlainSetWriter,
) -> Iterator[PlainSetWriter]:
    """A set being written in a folder whose name says whose it is, and which is gone afterwards."""
    prefix = f"{layout.PARTIAL}/{holder_token()}"
    try:
        storage.make_folder(prefix)
        yield writer(storage, prefix, name, style, earlier)
    finally:
        storage.delete_all(prefix)


def remove_abandoned(storage: Storage) -> None:
    """Removes what killed runs left."""
    storage.tidy()
    for token in list(storage.folders(layout.PARTIAL)):
        if token_is_dead(token):
            storage.delete_all(f"{layout.PARTIAL}/{token}")
