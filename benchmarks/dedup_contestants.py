"""Recoup and its peers, each as its own users would run it: encrypted, with zstd of level 3, into a folder on this machine."""

import json
import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path

from measuring import RECOUP, Run, timed

PASSWORD = "correct horse battery staple"  # opens nothing but what a benchmark made a moment ago
_CACHES = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "RESTIC_CACHE_DIR", "BORG_BASE_DIR")


def describe_stack(place: Path, **repository: object) -> None:
    """Writes the settings of a stack of one folder, `data`, and one dedup repository, `backups`, with their password.

    Args:
        place: folder of all.
        repository: further settings of it.
    """
    password = place / "password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    main = {"path": "backups", "layout": "dedup", "password_file": password.name, **repository}
    sources = {"data": {"kind": "files", "path": "data"}}
    config = {"version": 1, "stack": "benchmark", "sources": sources, "repositories": {"main": main}}
    (place / "recoup.yaml").write_text(json.dumps(config))


class Contestant(ABC):
    """A program with a repository of its own.

    Args:
        place: a folder for the repository and all that the program remembers.
        data: the folder to back up, with one file in it.
    """

    name: str
    program: str

    def __init__(self, place: Path, data: Path) -> None:
        self.place, self.data = place, data
        self.repository = place / "repository"
        self.password = place / "password"
        self.target = place / "restored"
        kept = {name: value for name, value in os.environ.items() if name not in _CACHES}
        self.environment = kept | {"HOME": str(place)}

    @classmethod
    def there(cls) -> bool:
        """Whether the program is on this machine."""
        return shutil.which(cls.program) is not None

    @classmethod
    def version(cls) -> str:
        """What the program says that it is."""
        said = subprocess.run([cls.program, *cls._ask_version], check=True, capture_output=True, text=True).stdout
        return " ".join(said.split()[:2])

    _ask_version: tuple[str, ...] = ("--version",)

    def begin(self) -> None:
        """Makes the repository."""
        self.place.mkdir()
        self.password.write_text(PASSWORD)
        self.password.chmod(0o600)
        self._run(self._begin())

    def backup(self) -> Run:
        """Backs the folder up."""
        return self._run(self._backup())

    def restore(self) -> tuple[Run, Path]:
        """Restores the newest backup into an empty folder; the file is the one that came out."""
        shutil.rmtree(self.target, ignore_errors=True)
        self.target.mkdir()
        run = self._run(self._restore(), self.target)
        found = [path for path in self.target.rglob("*") if path.is_file()]
        if len(found) != 1:
            raise SystemExit(f"{self.name} restored {len(found)} files instead of one")
        return run, found[0]

    def verify(self) -> Run:
        """Reads and checks every stored byte."""
        return self._run(self._verify())

    def stored(self) -> int:
        """Bytes of the repository's files."""
        return sum(path.stat().st_size for path in self.repository.rglob("*") if path.is_file())

    def _run(self, command: list[str], folder: Path | None = None) -> Run:
        os.sync()  # what another one wrote does not slow this one down
        return timed(command, folder or self.place, self.environment)

    @abstractmethod
    def _begin(self) -> list[str]: ...

    @abstractmethod
    def _backup(self) -> list[str]: ...

    @abstractmethod
    def _restore(self) -> list[str]: ...

    @abstractmethod
    def _verify(self) -> list[str]: ...


class Recoup(Contestant):
    """Recoup's dedup repository."""

    name, program = "Recoup", RECOUP
    _ask_version = ("version",)

    def _begin(self) -> list[str]:
        repository = {"path": str(self.repository), "layout": "dedup", "password_file": str(self.password)}
        sources = {"data": {"kind": "files", "path": str(self.data)}}
        config = {"version": 1, "stack": "benchmark", "sources": sources, "repositories": {"main": repository}}
        (self.place / "recoup.yaml").write_text(json.dumps(config))
        return [RECOUP, "init"]

    def _backup(self) -> list[str]:
        return [RECOUP, "-q", "backup"]

    def _restore(self) -> list[str]:
        return [RECOUP, "-q", "-c", str(self.place / "recoup.yaml"), "--yes", "restore", "--target", str(self.target)]

    def _verify(self) -> list[str]:
        return [RECOUP, "-q", "verify"]


class Restic(Contestant):
    """restic, with the format of repositories that can compress."""

    name, program = "restic", "restic"
    _ask_version = ("version",)

    def _base(self) -> list[str]:
        return [self.program, "-q", "-r", str(self.repository), "--password-file", str(self.password)]

    def _begin(self) -> list[str]:
        return [*self._base(), "init", "--repository-version", "2"]

    def _backup(self) -> list[str]:
        return [*self._base(), "backup", str(self.data)]

    def _restore(self) -> list[str]:
        return [*self._base(), "restore", "latest", "--target", str(self.target)]

    def _verify(self) -> list[str]:
        return [*self._base(), "check", "--read-data"]


class Rustic(Contestant):
    """rustic: restic's format, in Rust."""

    name, program = "rustic", "rustic"

    def _base(self) -> list[str]:
        quiet = ["--no-progress", "--log-level", "error"]
        return [self.program, "-r", str(self.repository), "--password-file", str(self.password), *quiet]

    def _begin(self) -> list[str]:
        return [*self._base(), "init"]

    def _backup(self) -> list[str]:
        return [*self._base(), "backup", str(self.data)]

    def _restore(self) -> list[str]:
        return [*self._base(), "restore", "latest", str(self.target)]

    def _verify(self) -> list[str]:
        return [*self._base(), "check", "--read-data"]


class Borg(Contestant):
    """BorgBackup."""

    name, program = "borg", "borg"

    def __init__(self, place: Path, data: Path) -> None:
        super().__init__(place, data)
        self.environment["BORG_PASSPHRASE"] = PASSWORD
        self._count = 0  # of archives

    def _begin(self) -> list[str]:
        return [self.program, "init", "--encryption", "repokey-blake2", str(self.repository)]

    def _backup(self) -> list[str]:
        self._count += 1
        return [self.program, "create", "--compression", "zstd,3", self._archive(), str(self.data)]

    def _restore(self) -> list[str]:
        return [self.program, "extract", self._archive()]

    def _verify(self) -> list[str]:
        return [self.program, "check", "--verify-data", str(self.repository)]

    def _archive(self) -> str:
        return f"{self.repository}::day{self._count}"


PEERS: tuple[type[Contestant], ...] = (Restic, Rustic, Borg)
