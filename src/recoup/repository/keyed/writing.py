"""Writing a keyed set: what is an artefact gets its own key, everything else goes into the set's folder."""

from recoup.errors import RefusedError
from recoup.model.manifest import Pack
from recoup.repository._base import Ticket
from recoup.repository.keyed import parts
from recoup.repository.keyed.view import KeyedStorage, artefact_key, artefact_path
from recoup.repository.plain.writing import PlainSetWriter
from recoup.storage._base import Storage


def keyed(storage: Storage) -> KeyedStorage:
    """The storage as a keyed set's, which it always is."""
    if not isinstance(storage, KeyedStorage):
        raise TypeError(f"a keyed set lies on a keyed storage, not on {type(storage).__name__}")
    return storage


def listed(storage: Storage, name: str, path: str) -> str:
    """A path inside a set as its SHA256SUMS names it: from the storage's root, where artefacts and the rest have it in common."""
    return artefact_key(path) or f"{keyed(storage).template.home}/{name}/{path}"


def path_of(storage: Storage, name: str, line: str) -> str:
    """The path inside a set that a line of its SHA256SUMS names."""
    folder = f"{keyed(storage).template.home}/{name}/"
    return line.removeprefix(folder) if line.startswith(folder) else artefact_path(line)


def _alone(storage: Storage) -> RefusedError:
    return RefusedError(
        f"workers cannot write to {storage.location}: its layout is keyed",
        "Use a repository with `layout: sets` for them.",
    )


class KeyedSetWriter(PlainSetWriter):
    """A keyed set being written."""

    def ticket(self) -> Ticket:
        """Refused: the names of artefacts are given out by one machine."""
        raise _alone(self.storage)

    def stream_path(self, source: str, name: str, suffix: str) -> str:
        """An artefact's key, or a path in the set's folder."""
        template = keyed(self.storage).template
        part = parts.of_stream(name, template.extension)
        if part is None:
            return super().stream_path(source, name, suffix)
        paths = [artefact_path(template.key(source, one, self.name, suffix)) for one in parts.names_for(part)]
        return next((path for path in paths if self.final(path) not in self._taken), paths[-1])

    def tree_path(self, source: str, name: str, pack: Pack) -> str:
        """The same for a tree, which is an artefact when it is one archive."""
        template = keyed(self.storage).template
        part = parts.of_tree(source, name, pack, template.extension)
        if part is None:
            return super().tree_path(source, name, pack)
        return artefact_path(template.key(source, part, self.name))

    def claim(self, path: str) -> None:
        """Takes a path for one part.

        Raises:
            RefusedError: another part, or another tool's artefact, has it.
        """
        if artefact := artefact_key(path):
            keyed(self.storage).require_free(artefact)
        super().claim(path)

    def listed(self, path: str) -> str:
        """A path as SHA256SUMS names it."""
        return listed(self.storage, str(self.name), path)

    def discard(self, source: str) -> None:
        """Removes everything stored of a source, its artefacts too."""
        artefacts = [path for path, _, _ in self._sums.get(source, ()) if artefact_key(path)]
        super().discard(source)
        for path in artefacts:
            self.storage.delete(self.key(path))
            self.release(path)
