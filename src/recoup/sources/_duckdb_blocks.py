"""A DuckDB file that another process is writing to, copied block by block to one consistent state, without taking its lock.

**The format** (DuckDB's `storage_info.hpp`, `single_file_block_manager.cpp`, `metadata_manager.cpp`, `wal_replay.cpp`; storage
versions 64 to 69, that is 0.9 to 2.0; numbers are little-endian). Three pages of 4,096 bytes (the main header and two database
headers), then blocks of equal size (16 to 256 KiB, named in the headers). Every page and block begins with a u64 checksum of
the rest: 5381 XOR each 8-byte word times 0xbf58476d1ce4e5b9 (`checksum.cpp`). The database header with the higher iteration
counts. A checkpoint writes to blocks that are free, syncs, and then writes the other header in one page: from then on it
counts. Blocks that only the state before needed are free afterwards. Blocks of metadata are rewritten in place, but what the
state before needs in them keeps its bytes. Between checkpoints commits go to `FILE.wal`, which grows until a checkpoint removes
it; bulk loads write their blocks before the entry in the log that names them. Since 1.5 a checkpoint lets commits go on in
`FILE.wal.checkpoint`, which takes the place of `FILE.wal` when it is done.

**Why the copy is right.** A pass reads the headers, then the logs as long as they are now, then of each block its checksum, and
copies the blocks whose checksum differs from what we have. Then it looks again: the same pages, the same logs, grown at most.
If nothing had to be copied in such a pass, every block of our copy was in the file after the logs were measured and under the
header that we hold. What that header and these logs need was complete before they named it, and is overwritten only after the
next header; so headers, blocks and logs together are the state at the moment when the logs were measured: all that had been
committed by then, and nothing later. What is copied beyond that (blocks being written for the next state) is free space to
whoever opens the copy. A log that ends inside an entry is what a power cut leaves; DuckDB ignores the torn end.

**What could deceive it, and what is done.**

* A block read while it is being written: the checksum of what was read is computed; it is read again until it fits.
* The checksum does not see words that change places, so a block may be rewritten under an equal one. A block that was seen to
  change is therefore compared byte by byte in the pass that counts; and when the file was written to during the copy, all blocks
  are compared once more in the end: a difference under an equal checksum is followed like any other change.
* A block that fits its checksum in no pass is damaged, unless the free list says that nobody needs it.
* The file replaced by a rename: another inode, so everything begins again. The file cut shorter: the pass does not count.

**Where it is not safe.** On a file system that another machine writes to (no order between its writes and our reads) and for
encrypted files (checksums lie elsewhere and are enciphered): both are refused. In a process that has the file open itself:
closing our descriptor would drop that process's POSIX locks, so all of this runs in a child process only.

**Reflinks.** Where the file system can clone, it does so in one step: equal headers and equal logs before and after make the
clone and the logs one state. If the logs never stand still, blocks are followed instead.
"""

import array
import errno
import hashlib
import os
import struct
from collections.abc import Generator, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from recoup.model.structs import Struct
from recoup.system import filesystem
from recoup.system.atomicfile import create_private
from recoup.system.clock import SystemClock

if TYPE_CHECKING:  # numpy is slow to import, and only the child that copies needs it
    import numpy as np
    import numpy.typing as npt

LOGS = (".wal", ".wal.checkpoint")
"""What DuckDB appends to a database's name for its logs (the second since 1.5, `storage_manager.cpp`)."""

COPY = "copy.duckdb"
"""Name of the copy in its folder; its logs lie beside it."""

_PAGE = 4096
_HEADERS = 3 * _PAGE
_MAGIC = b"DUCK"
_ENCRYPTED = 1  # bit of the first flag word
_DEPRECATED = 999  # as main version: look into the database header instead
_SIZES = frozenset(1 << power for power in range(14, 19))  # 16 KiB to 256 KiB
_DEFAULT_SIZE = 262_144
_NONE = 2**64 - 1
_FULL = (errno.ENOSPC, errno.EDQUOT)
_ROOM = "Free some space, or set `staging:` to a folder on a larger disk."
_FACTOR = 0xBF58476D1CE4E5B9
_SEED = 5381
_WORD = 2**64 - 1
_LOG_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW  # DuckDB makes no links: one of that name leads elsewhere
_BATCH = 1 << 20  # bytes read at once
_NEWS = 0.2  # seconds between signs of life
_TRIES = 20  # looks at what does not fit its checksum; at a header 5 ms apart
_CLONES = 16  # tries to clone between two commits

_COLD, _WATCHED, _UNSOUND, _EMPTY = range(4)
# of a block: seen once; seen to change; does not fit its checksum; all zeros (a hole: never written, or given back)

Step = dict[str, Any]


class UnfitError(Exception):
    """The file cannot be copied, whatever we wait for."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class _MovedError(Exception):
    """The file changed so that this pass does not count."""


class Header(Struct):
    """What the first three pages say.

    Attributes:
        pages: their bytes.
        block_size: bytes of a block.
        block_count: blocks of the state that counts; later ones are free.
        free_list: pointer to the list of free blocks (block number in the low 56 bits, slot in the high 8).
        storage_version: 64 for DuckDB 0.9 to 1.1, then one more for each of 1.2, 1.3, 1.4, 1.5 and 2.0.
        engine: version of DuckDB that made the file, e.g. `v1.1.3`.
    """

    pages: bytes
    block_size: int
    block_count: int
    free_list: int
    storage_version: int
    engine: str


class _Log(Struct):
    """A log as it was when we measured it; `inode` 0 when there is none."""

    inode: int = 0
    size: int = 0
    digest: bytes = b""
    mode: int = 0
    mtime_ns: int = 0

    def same(self, other: "_Log") -> bool:
        """True when it is the same file with the same bytes."""
        return (self.inode, self.size, self.digest) == (other.inode, other.size, other.digest)


class _View(Struct):
    """What a look at the file shows."""

    header: Header
    blocks: int
    logs: tuple[_Log, ...]

    def same(self, other: "_View") -> bool:
        """True when nothing was committed and no checkpoint ended between the two looks."""
        logs = zip(self.logs, other.logs, strict=True)
        return self.header == other.header and self.blocks == other.blocks and all(a.same(b) for a, b in logs)


def checksums(data: bytes | bytearray, size: int) -> "tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]":
    """The stored and the computed checksum of each block.

    Args:
        data: whole blocks.
        size: bytes of each.
    """
    import numpy as np

    words = np.frombuffer(data, "<u8").reshape(-1, size // 8)
    return words[:, 0], np.bitwise_xor.reduce(words[:, 1:] * np.uint64(_FACTOR), axis=1) ^ np.uint64(_SEED)


def sound(data: bytes) -> bool:
    """True when one page or block fits its checksum."""
    stored, computed = checksums(data, len(data))
    return bool(stored[0] == computed[0])


def _sound_page(page: bytes) -> bool:
    """What `sound` says of one page of 4,096 bytes, without numpy: loading that takes longer than all else of a look."""
    stored, *words = struct.unpack(f"<{_PAGE // 8}Q", page)
    computed = _SEED
    for word in words:
        computed ^= word * _FACTOR & _WORD
    return bool(computed == stored)


def parse_header(pages: bytes) -> Header:
    """Reads the three pages.

    Raises:
        UnfitError: they are not those of a DuckDB database, or of one that cannot be copied.
        ValueError: a page does not fit its checksum: torn (being written), or damaged.
    """
    if pages[8:12] != _MAGIC:
        raise UnfitError("it is not a DuckDB database", "Is it of another kind, or is the path wrong?")
    if pages[20] & _ENCRYPTED:
        raise UnfitError(
            "it is encrypted, and its blocks cannot be checked without the key",
            "Capture it in the application's process with recoup.capture_duckdb.",
        )
    if not all(_sound_page(pages[start : start + _PAGE]) for start in range(0, _HEADERS, _PAGE)):
        raise ValueError("a header does not fit its checksum")
    candidates = [struct.unpack_from("<6Q", pages, start + 8) for start in (_PAGE, 2 * _PAGE)]
    counts = 0 if candidates[0][0] > candidates[1][0] else 1
    _, _, free_list, count, size, _ = candidates[counts]
    size = size or _DEFAULT_SIZE
    if size not in _SIZES:
        raise UnfitError(f"it has blocks of {size} bytes, which this Recoup does not know", "Update Recoup.")
    version = struct.unpack_from("<Q", pages, 12)[0]
    if version == _DEPRECATED:
        version = struct.unpack_from("<Q", pages, _PAGE * (counts + 1) + 56)[0]
    engine = pages[52:84].split(b"\0")[0].decode("ascii", "replace")
    return Header(pages, size, count, free_list, version, engine)


def read_header(descriptor: int) -> Header:
    """Reads the headers of an open file, again while they are being written.

    Raises:
        UnfitError: it is no DuckDB database, cannot be copied, or its headers are damaged.
    """
    clock, pages = SystemClock(), b""
    for _ in range(_TRIES):
        pages = os.pread(descriptor, _HEADERS, 0)
        if len(pages) == _HEADERS:
            try:
                return parse_header(pages)
            except ValueError:
                pass
        clock.sleep(0.005)
    if len(pages) < _HEADERS:
        raise UnfitError("it is too short to be a DuckDB database", "Is it of another kind, or is the path wrong?")
    raise UnfitError("its headers do not fit their checksums: it is damaged", "Restore it from an earlier backup.")


def inspect(path: str) -> Step:
    """Runs in a child: what the headers of a file say, or why it cannot be copied. Never call it in our own process."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            header = read_header(descriptor)
        finally:
            os.close(descriptor)
    except (UnfitError, OSError) as error:
        return _unfit(error)
    return {"step": "fit", "engine": header.engine, "storage_version": header.storage_version}


def follow(path: str, folder: str, rate: float) -> Generator[Step, object, None]:
    """Runs in a child: copies the database at `path` into `folder`. Never call it in our own process.

    The first answer is `ready`; the next question begins a pass. A pass ends with the step `still` (the copy is complete),
    `moving` (ask for another one) or `unfit` (it cannot be done); `reading` in between is a sign of life.

    Args:
        path: the live file.
        folder: an empty one of ours.
        rate: bytes per second to read at most, apart from catching up with changes, which bears no delay; 0 for no limit.
    """
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # numpy starts a thread for each processor otherwise, and we only add up
    try:
        with _Follower(Path(path), Path(folder), rate) as follower:
            yield {"step": "ready"}
            while True:
                yield from follower.run_pass()
    except (UnfitError, OSError) as error:
        yield _unfit(error, Path(folder))


def _unfit(error: UnfitError | OSError, folder: Path | None = None) -> Step:
    if isinstance(error, UnfitError):
        return {"step": "unfit", "message": str(error), "hint": error.hint}
    if folder and error.errno in _FULL:  # reading needs no room: it is the copy that has none
        return {"step": "unfit", "message": f"the disk of the staging folder {folder.parent} is full", "hint": _ROOM}
    return {"step": "unfit", "message": f"it cannot be read: {(error.strerror or str(error)).lower()}", "hint": ""}


class _Pace:
    """Keeps reading below a rate, and tells when a sign of life is due."""

    def __init__(self, rate: float) -> None:
        self._clock = SystemClock()
        self._rate = rate
        self._due = self._said = self._clock.monotonic()

    def spend(self, count: int) -> None:
        """Waits as long as `count` bytes take at the rate."""
        if self._rate > 0:
            now = self._clock.monotonic()
            self._due = max(self._due, now) + count / self._rate
            self._clock.sleep(self._due - now)

    def sign_due(self) -> bool:
        """True a few times a second."""
        now = self._clock.monotonic()
        if now - self._said < _NEWS:
            return False
        self._said = now
        return True


class _Follower:
    """Brings a copy of a living file up to date, pass after pass, until it stands still."""

    def __init__(self, path: Path, folder: Path, rate: float) -> None:
        self._path = path
        self._target = folder / COPY
        os.close(create_private(self._target))
        self._copy = os.open(self._target, os.O_RDWR)
        self._live = -1
        self._pace = _Pace(rate)
        self._clones = _CLONES
        self._passes = self._read_bytes = 0
        self._begin()

    def _begin(self) -> None:
        """Forgets what was copied and opens what now bears the name."""
        if self._live >= 0:
            os.close(self._live)
        # O_NONBLOCK: a FIFO of that name must not hold us up
        self._live = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
        self._size = read_header(self._live).block_size
        self._sums = array.array("Q")  # 8 bytes and one of state a block: 36 MB for a file of 1 TB
        self._states = bytearray()
        self._first: _View | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._live)
        os.close(self._copy)

    def run_pass(self) -> Iterator[Step]:
        """One pass; its last step says how it ended."""
        self._passes += 1
        try:
            view = self._look()
            self._first = self._first or view
            if self._clones and (yield from self._cloned(view)):
                yield self._finished(view, "reflink")
                return
            yield from self._update(view)
            self._look_again(view)
            if not self._first.same(view):
                yield from self._confirm()
            yield self._finished(view, "block-wise copy")
        except _MovedError as error:
            yield {"step": "moving", "what": str(error)}

    def _look(self) -> _View:
        """Headers first, then the logs as they are now."""
        status, live = self._path.stat(), os.fstat(self._live)
        header = None if (status.st_dev, status.st_ino) != (live.st_dev, live.st_ino) else read_header(self._live)
        if header is None or header.block_size != self._size:
            self._begin()
            header = read_header(self._live)
        blocks = max(0, os.fstat(self._live).st_size - _HEADERS) // self._size
        return _View(header, blocks, tuple(self._copy_log(suffix) for suffix in LOGS))

    def _copy_log(self, suffix: str) -> _Log:
        """Copies a log, up to its present length, beside the copy; an empty one counts as none there."""
        target = self._target.with_name(COPY + suffix)
        target.unlink(missing_ok=True)
        try:
            source = os.open(self._path.with_name(self._path.name + suffix), _LOG_FLAGS)
        except FileNotFoundError:
            return _Log()
        try:
            status, digest = os.fstat(source), hashlib.blake2b()
            if status.st_size:
                with os.fdopen(create_private(target), "wb") as file:
                    for data in self._stretches(source, status.st_size):
                        digest.update(data)
                        file.write(data)
            return _Log(status.st_ino, status.st_size, digest.digest(), status.st_mode, status.st_mtime_ns)
        finally:
            os.close(source)

    def _stretches(self, descriptor: int, size: int) -> Iterator[bytes]:
        offset = 0
        while offset < size:
            data = os.pread(descriptor, min(_BATCH, size - offset), offset)
            if not data:
                raise _MovedError("the log")
            offset += len(data)
            yield data

    def _look_again(self, view: _View) -> None:
        """Makes sure that the logs have grown at most, and that the headers are the same.

        Raises:
            _MovedError: they are not.
        """
        for suffix, log in zip(LOGS, view.logs, strict=True):
            if not self._log_kept(self._path.with_name(self._path.name + suffix), log):
                raise _MovedError("the log")
        status, live = self._path.stat(), os.fstat(self._live)
        if (status.st_dev, status.st_ino) != (live.st_dev, live.st_ino):
            raise _MovedError("the file itself")
        if os.pread(self._live, _HEADERS, 0) != view.header.pages:
            raise _MovedError("the headers")

    def _log_kept(self, path: Path, log: _Log) -> bool:
        try:
            source = os.open(path, _LOG_FLAGS)
        except FileNotFoundError:
            return log.inode == 0
        try:
            if log.inode == 0:
                return True  # new since: it holds what was committed after the moment of our look
            if os.fstat(source).st_ino != log.inode:
                return False
            digest = hashlib.blake2b()
            for data in self._stretches(source, log.size):
                digest.update(data)
            return digest.digest() == log.digest
        finally:
            os.close(source)

    def _cloned(self, view: _View) -> Generator[Step, object, bool]:
        """Tries the file system's clone; False where it has none, or when the file is never still long enough.

        Raises:
            _MovedError: something was written meanwhile; worth another try.
        """
        if not filesystem.clone(self._live, self._copy):
            self._clones = 0
            return False
        self._clones -= 1
        self._look_again(view)
        sizes = [path.stat().st_size if path.exists() else 0 for path in self._log_paths()]
        if sizes != [log.size for log in view.logs]:
            raise _MovedError("the log")
        self._sums, self._states = array.array("Q"), bytearray()
        for first in range(0, view.blocks, self._batch):
            count = min(self._batch, view.blocks - first)
            data = os.pread(self._copy, count * self._size, self._offset(first))
            self._note(data)
            if self._pace.sign_due():
                yield self._reading(first, view)
        if not self._damaged(view.header):
            return True
        self._clones = 0  # let the passes tell damage from a write under way
        self._sums, self._states = array.array("Q"), bytearray()
        return False

    def _log_paths(self) -> tuple[Path, ...]:
        return tuple(self._path.with_name(self._path.name + suffix) for suffix in LOGS)

    @property
    def _batch(self) -> int:
        return _BATCH // self._size

    def _offset(self, block: int) -> int:
        return _HEADERS + block * self._size

    def _reading(self, block: int, view: _View) -> Step:
        return {"step": "reading", "done": block * self._size, "total": view.blocks * self._size}

    def _update(self, view: _View) -> Generator[Step, object, None]:
        """Brings every block up to date.

        Raises:
            _MovedError: some had to be copied, so another pass is to find them unchanged.
        """
        del self._sums[view.blocks :], self._states[view.blocks :]
        if not self._sums:
            os.ftruncate(self._copy, 0)  # a clone, or another file's blocks: begin with a hole
        os.ftruncate(self._copy, self._offset(view.blocks))
        known, copied = len(self._sums), view.blocks - len(self._sums)
        for block in range(known):
            copied += self._revisit(block)
            if not block % 256 and self._pace.sign_due():
                yield self._reading(block, view)
        for first in range(known, view.blocks, self._batch):
            self._bring(first, min(self._batch, view.blocks - first))
            if self._pace.sign_due():
                yield self._reading(first, view)
        if not copied:  # the short way says that nothing changed; where it may deceive, go the long one
            import numpy as np

            restless = np.flatnonzero(np.isin(np.frombuffer(self._states, np.uint8), (_WATCHED, _UNSOUND)))
            copied = sum(self._compare(block) for block in restless.tolist())
        if copied:
            raise _MovedError("blocks")

    def _revisit(self, block: int) -> bool:
        """Copies a block that we have if its checksum is another one; True when it was."""
        stored = os.pread(self._live, 8, self._offset(block))
        if len(stored) < 8:
            raise _MovedError("the file's length")
        if int.from_bytes(stored, "little") == self._sums[block]:
            return False
        self._take(block, *self._read_block(block))
        return True

    def _compare(self, block: int) -> bool:
        """Copies a block that we have if any byte differs; True when one did."""
        data, state = self._read_block(block)
        if data == os.pread(self._copy, self._size, self._offset(block)):
            return False
        self._take(block, data, state)
        return True

    def _take(self, block: int, data: bytes, state: int) -> None:
        self._write(block, data)
        self._sums[block] = int.from_bytes(data[:8], "little")
        self._states[block] = _WATCHED if state == _COLD else state

    def _bring(self, first: int, count: int) -> None:
        """Copies blocks that we do not have yet; the copy is a hole there, which is all that empty ones need."""
        data = bytearray(self._read(first, count))
        self._pace.spend(len(data))
        self._note(data)
        for block in range(first, first + count):
            if self._states[block] == _UNSOUND:
                again, state = self._read_block(block)
                self._states[block] = _WATCHED if state == _COLD else state
                self._sums[block] = int.from_bytes(again[:8], "little")
                start = (block - first) * self._size
                data[start : start + self._size] = again
        if any(state != _EMPTY for state in self._states[first:]):
            self._write(first, data)

    def _note(self, data: bytes | bytearray) -> None:
        """Remembers the checksums of blocks that follow those that we know."""
        import numpy as np

        stored, computed = checksums(data, self._size)
        zeros = ~np.frombuffer(data, "<u8").reshape(-1, self._size // 8).any(axis=1)
        self._sums.extend(stored.tolist())
        self._states.extend(
            np.select([zeros, stored == computed], [_EMPTY, _COLD], _UNSOUND).astype(np.uint8).tobytes()
        )

    def _read(self, first: int, count: int) -> bytes:
        data = os.pread(self._live, count * self._size, self._offset(first))
        if len(data) < count * self._size:
            raise _MovedError("the file's length")
        return data

    def _read_block(self, block: int) -> tuple[bytes, int]:
        """Reads a block until it fits its checksum or stays as it is."""
        last = b""
        for _ in range(_TRIES):
            data = self._read(block, 1)
            if sound(data):
                return data, _COLD
            if not data.strip(b"\0"):
                return data, _EMPTY
            if data == last:
                break
            last = data
        return last, _UNSOUND

    def _write(self, block: int, data: bytes | bytearray) -> None:
        view, offset = memoryview(data), self._offset(block)
        while view:
            count = os.pwrite(self._copy, view, offset)
            view, offset = view[count:], offset + count

    def _confirm(self) -> Generator[Step, object, None]:
        """Compares all bytes, because blocks may have been rewritten under equal checksums.

        Blocks that bear another checksum by now are those of later states. Shortened since is no matter either.

        Raises:
            _MovedError: a block differs under an equal checksum.
        """
        differing = 0
        for first in range(0, len(self._sums), self._batch):
            count = min(self._batch, len(self._sums) - first)
            copied = os.pread(self._copy, count * self._size, self._offset(first))
            live = os.pread(self._live, count * self._size, self._offset(first))
            self._pace.spend(len(live))
            if live != copied:
                differing += sum(self._deceives(block) for block in range(first, first + len(live) // self._size))
            if self._pace.sign_due():
                yield {"step": "reading", "done": first * self._size, "total": len(self._sums) * self._size}
        if differing:
            raise _MovedError("blocks")

    def _deceives(self, block: int) -> bool:
        """True when a block differs from ours under an equal checksum; it is watched from now on."""
        try:
            data, _ = self._read_block(block)
        except _MovedError:
            return False
        copied = os.pread(self._copy, self._size, self._offset(block))
        if data[:8] != copied[:8] or data == copied:
            return False
        if self._states[block] == _COLD:
            self._states[block] = _WATCHED
        return True

    def _finished(self, view: _View, method: str) -> Step:
        """Completes the copy.

        Raises:
            UnfitError: blocks that are needed do not fit their checksums.
        """
        damaged = self._damaged(view.header)
        if damaged:
            raise UnfitError(
                f"{len(damaged)} of its blocks do not fit their checksums (the first is block {damaged[0]}): it is damaged",
                "Restore it from an earlier backup, or export what can still be read.",
            )
        self._write_headers(view)
        files = {"": os.fstat(self._live)} | {
            suffix: log for suffix, log in zip(LOGS, view.logs, strict=True) if log.size
        }
        return {
            "step": "still",
            "method": method,
            "passes": self._passes,
            "engine": view.header.engine,
            "files": {suffix: _attributes(status) for suffix, status in files.items()},
        }

    def _write_headers(self, view: _View) -> None:
        os.pwrite(self._copy, view.header.pages, 0)
        os.ftruncate(self._copy, self._offset(view.blocks))

    def _damaged(self, header: Header) -> list[int]:
        """Blocks that the header's state needs and that do not fit their checksums."""
        bad = {
            block
            for block, state in enumerate(self._states)
            if state in (_UNSOUND, _EMPTY) and block < header.block_count
        }
        if bad:
            bad.difference_update(self._free_blocks(header))
        return sorted(bad)

    def _free_blocks(self, header: Header) -> Iterator[int]:
        """The free list: a count and block numbers, in a chain of slots of a 64th of a block (`metadata_manager.cpp`)."""
        length = (self._size - 8) // 64 // 8 * 8
        pointer, seen, left = header.free_list, set[int](), -1
        while pointer != _NONE and pointer not in seen and left:
            seen.add(pointer)
            offset = self._offset(pointer & (2**56 - 1)) + 8 + (pointer >> 56) * length
            data = os.pread(self._copy, length, offset) if offset < 2**62 else b""
            if len(data) < length:
                return
            pointer, *numbers = struct.unpack(f"<{length // 8}Q", data)
            if left < 0:
                left, numbers = numbers[0], numbers[1:]
            yield from numbers[:left]
            left -= min(left, len(numbers))


def _attributes(status: "os.stat_result | _Log") -> dict[str, int]:
    if isinstance(status, _Log):
        return {"mode": status.mode & 0o7777, "mtime_ns": status.mtime_ns}
    return {"mode": status.st_mode & 0o7777, "mtime_ns": status.st_mtime_ns}
