"""Opening what is encrypted of one set: its manifest, its key and facts, its parts."""

import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property

from recoup.errors import RefusedError
from recoup.model.manifest import Manifest, Sealed, StoredFile, decode
from recoup.repository.plain import layout
from recoup.repository.plain.reading import Place
from recoup.repository.plain.sealed import Secrets, decode_header, decode_secrets, is_header, unsealed
from recoup.repository.sealing._base import Sealing
from recoup.storage._base import Storage

_LARGEST = 256 * 1024 * 1024  # bytes of a manifest or of facts that are still reasonable


class SetKeys:
    """One set's keys. An open set has none, and needs none.

    Args:
        storage: where the set lies.
        name: the set's own name.
        sealing: what is configured to open it; None when nothing is.
    """

    def __init__(self, storage: Storage, name: str, sealing: Sealing | None) -> None:
        self._storage, self.name, self._sealing = storage, name, sealing

    @property
    def place(self) -> Place:
        """Where parts are read from, by means of these keys."""
        return Place(self._storage, self.name, self)

    def can_open(self, method: Sealed | None) -> bool:
        """Whether something is configured on this host that may open files of a method; True for open ones."""
        sealing = self._sealing
        return method is None or (sealing is not None and sealing.method == method and sealing.can_open)

    def opened(self, method: Sealed, chunks: Iterator[bytes], item: str) -> Iterator[bytes]:
        """The plain bytes of a file."""
        return unsealed(self._sealing, method, chunks, item)

    def manifest_in(self, data: bytes, copies: Mapping[str, bytes] | None = None) -> Manifest:
        """The manifest, from what lies in its file; an encrypted one is opened.

        Args:
            data: the bytes of manifest.json.
            copies: objects by their keys, to be taken instead of the stored ones.

        Raises:
            RefusedError: it is damaged, or of an unknown version.
            DamagedError: the encrypted manifest is not what was stored.
            WrongKeyError: what is configured does not open it.
        """
        origin = f"{self.name}/{layout.MANIFEST}"
        if not is_header(data):
            return decode(data, origin)
        header = decode_header(data, origin)
        copy = (copies or {}).get(f"{self.name}/{header.manifest.path}")
        return decode(self._whole(header.manifest, header.method, copy), origin)

    @cached_property
    def secrets(self) -> Secrets:
        """The set's key and facts. Raises as `manifest_in` does."""
        manifest = self.manifest_in(self._storage.get(f"{self.name}/{layout.MANIFEST}"))
        if manifest.sealing is None:
            raise RefusedError(f"{self.name} has encrypted parts, and its manifest does not say how to open them")
        keys = manifest.sealing.keys
        return decode_secrets(self._whole(keys, manifest.sealing.method), f"{self.name}/{keys.path}")

    @property
    def hmac_key(self) -> bytes:
        """The set's own key."""
        return self.secrets.key

    def _whole(self, file: StoredFile, method: Sealed, copy: bytes | None = None) -> bytes:
        if file.bytes > _LARGEST:
            raise RefusedError(f"{self.name}/{file.path} is larger than any such file is")
        if copy is not None and hashlib.sha256(copy).hexdigest() == file.sha256:
            return b"".join(self.opened(method, iter([copy]), file.path))
        return b"".join(self.place.plain(file.path, file.bytes, file.sha256, method))
