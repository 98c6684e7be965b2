"""A look around for `recoup init`: which stores a folder holds, and the configuration that takes them."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from recoup.config import _landscape, _services, _variables
from recoup.config._schedule import SAMPLE
from recoup.config.explain import flow
from recoup.config.sample import schema_lines
from recoup.errors import ConfigError
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.system import plugs

_QDRANT_PORT = 6333
_KEY = "QDRANT_API_KEY"
_MOST_SOURCES = 50

_DATABASE_NAME = re.compile(r".+\.(?:duckdb|ddb|db|db3|sqlite\w*)\Z", re.IGNORECASE | re.DOTALL)
_FOLDERS = {"data", "documents", "files", "media", "storage", "upload", "uploads"}
_POINTER = "CURRENT"
_SIDE_FILES = {"sqlite": ("-wal", "-shm", "-journal"), "duckdb": (".wal", ".wal.checkpoint")}
_MEANING = {
    "sqlite": "An SQLite database.",
    "duckdb": "A DuckDB database.",
    "qdrant-local": "The folder of a local-mode Qdrant.",
    "qdrant": "A Qdrant server: all its collections.",
    "postgres": "A PostgreSQL database. With `tables: [...]` each of them can be restored alone, too.",
}


class FoundSource(Struct):
    """A store that can be backed up.

    Attributes:
        name: a name for it.
        kind: the plug that reads it.
        path: where, relative to the folder looked at; absolute when it lies elsewhere; a URL for a server.
        meaning: what it is, one sentence.
        settings: further settings.
        place: which setting says where; empty when `settings` do.
    """

    name: str
    kind: str
    path: str
    meaning: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    place: str = "path"


class Found(Struct):
    """What a look around found.

    Attributes:
        folder: where.
        sources: stores that can be backed up.
        others: sentences about what was found and is not backed up.
        repository: a place for the repository, relative to the folder.
        env_file: False when the `.env` file cannot be read.
    """

    folder: Path
    sources: tuple[FoundSource, ...]
    others: tuple[str, ...]
    repository: str
    env_file: bool = True


def discover(folder: Path, environ: Mapping[str, str], qdrant_port: int = _QDRANT_PORT) -> Found:
    """Looks around. Opens files for their first bytes, and asks ports of this machine; contacts nobody else.

    Args:
        folder: where, absolute.
        environ: the environment; variables whose names end in URL, URI, DSN, HOST or LOCATION are looked at.
        qdrant_port: where a Qdrant server of this machine would answer.
    """
    looking = _Looking(folder, _landscape.look(folder), frozenset(plugs.kinds("recoup.sources")))
    looking.qdrant_folders()
    looking.databases()
    looking.named_in(environ)
    looking.qdrant_server(f"http://127.0.0.1:{qdrant_port}", environ)
    looking.plain_folders()
    looking.env()
    return looking.found()


def stack_name(folder: Path) -> str:
    """A stack's name made from a folder's."""
    return _name(folder.name, "stack")


@dataclass
class _Looking:
    """A look around in progress."""

    folder: Path
    seen: _landscape.Landscape
    kinds: frozenset[str]
    sources: list[FoundSource] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    taken: dict[PurePosixPath, str] = field(default_factory=dict)
    env_file: bool = True
    variables: frozenset[str] = frozenset()

    def qdrant_folders(self) -> None:
        """Folders of local mode; a server's storage is only told of."""
        for path, names in self.seen.folders.items():
            if "meta.json" in names and _landscape.is_qdrant_local(self.folder / path):
                self.take(path, "qdrant-local")
            elif "raft_state.json" in names and "collections" in names:
                self.taken[path] = "qdrant-server"
                self.tell(f"{path}: the storage of a Qdrant server, which must not be copied while it runs.")

    def databases(self) -> None:
        """Database files, by what they begin with."""
        for path in self.seen.files:
            if _DATABASE_NAME.match(path.name) and not self.is_taken(path):
                kind = _landscape.kind_of(self.folder / path)
                if kind:
                    self.take(path, kind)
                else:
                    self.tell(
                        f"{path}: named like a database, but it begins like none that is known (empty or encrypted?)."
                    )

    def named_in(self, environ: Mapping[str, str]) -> None:
        """What variables, the `.env` file and compose files name."""
        services = list(_services.in_variables(environ, "the environment"))
        names = self.seen.folders.get(PurePosixPath(), frozenset())
        if (self.folder / ".env").is_file():
            try:
                variables = _variables.read_dotenv(self.folder / ".env", ".env", environ)
                services += _services.in_variables(variables.dotenv, ".env")
                self.variables = frozenset(variables.dotenv)
            except ConfigError as error:
                self.env_file = False
                self.tell(error.message)
        for name in _services.compose_files(names):
            more, problem = _services.readable_compose(self.folder / name)
            services += more
            if problem:
                self.tell(problem)
        for service in services:
            self.service(service, environ)

    def service(self, service: _services.Service, environ: Mapping[str, str]) -> None:
        """A file that a URL names is a source as any other, and so is a server of this machine; other servers are told of."""
        if service.what == "Qdrant" and self.qdrant_server(service.address, environ):
            return
        if service.what == "PostgreSQL" and self.postgres_server(service, environ):
            return
        if service.what in _SIDE_FILES:
            path = PurePosixPath(service.address)
            file = self.folder / path
            if path.is_absolute() and file.is_relative_to(self.folder):
                path = PurePosixPath(file.relative_to(self.folder).as_posix())
            if not self.is_taken(path) and _landscape.kind_of(file) == service.what:
                self.take(path, service.what)
        elif service.what == "Qdrant":
            self.tell(
                f"Qdrant: {service.address}, {service.where}. It does not answer here; "
                "add a source of kind qdrant with its url, and allow_remote: true if it is another machine."
            )
        else:
            self.tell(
                f"{service.what}: {service.address}, {service.where}. It does not answer here; "
                "add a source of kind postgres with its url, and allow_remote: true if it is another machine."
            )

    def qdrant_server(self, url: str, environ: Mapping[str, str]) -> bool:
        """Takes a Qdrant server of this machine, if one answers there; says whether one does."""
        port = _services.port_here(url)
        if port is None or not _services.qdrant_answers(port):
            return False
        url = f"http://127.0.0.1:{port}"
        if all(source.path != url for source in self.sources):
            key = {"api_key": "${QDRANT_API_KEY:-}"} if _KEY in {*environ, *self.variables} else {}
            name = _unused("vectors", {source.name.lower() for source in self.sources})
            self.sources.append(FoundSource(name, "qdrant", url, _MEANING["qdrant"], key, place="url"))
        return True

    def postgres_server(self, service: _services.Service, environ: Mapping[str, str]) -> bool:
        """Takes a database on this machine whose URL, with its password, is in a variable; says whether it did."""
        if service.variable not in {*environ, *self.variables} or not _services.postgres_answers(service.address):
            return False
        if all(source.path != service.address for source in self.sources):
            name = _unused(_name(service.address.rpartition("/")[2], "db"), {one.name.lower() for one in self.sources})
            url = {"url": f"${{{service.variable}}}"}
            self.sources.append(FoundSource(name, "postgres", service.address, _MEANING["postgres"], url, place=""))
        return True

    def plain_folders(self) -> None:
        """Folders with files that no other source takes; the deepest first, so that each is named for what it holds."""
        candidates = [path for path in self.seen.folders if path.name in _FOLDERS and not self.is_taken(path)]
        for path in sorted(candidates, key=lambda path: (-len(path.parts), path)):
            left = [file for file in self.seen.below(path) if not self.is_taken(file)]
            if not left:
                continue
            pointers = [str(file.relative_to(path)) for file in left if file.name == _POINTER]
            exclude = [
                pattern
                for inner, kind in sorted(self.taken.items())
                if path in inner.parents
                for pattern in _patterns(inner, path, kind)
            ]
            settings = {"exclude": exclude, "pointers": pointers}
            self.take(path, "files", {key: value for key, value in settings.items() if value})

    def env(self) -> None:
        """The `.env` file itself."""
        if (self.folder / ".env").is_file():
            self.take(PurePosixPath(".env"), "files", {"optional": True})

    def take(self, path: PurePosixPath, kind: str, settings: Mapping[str, Any] | None = None) -> None:
        """Makes a source of it, where there is a plug for its kind."""
        self.taken[path] = kind
        if kind not in self.kinds:
            self.tell(f"{path}: {_MEANING.get(kind, 'plain files')} This version has no source for it.")
        elif len(self.sources) >= _MOST_SOURCES:
            self.tell(f"{path}: {_MEANING.get(kind, 'plain files')} It is not the first of very many; add it by hand.")
        else:
            meaning = _MEANING.get(kind) or ("Variables and secrets." if path.name == ".env" else "A folder of files.")
            fallback = "vectors" if kind == "qdrant-local" else kind
            name = _unused(_name(path.stem.lstrip("."), fallback), {source.name.lower() for source in self.sources})
            self.sources.append(FoundSource(name, kind, str(path), meaning, settings or {}))

    def is_taken(self, path: PurePosixPath) -> bool:
        """Whether a source has it: it, a folder around it, or the database whose side file it is."""
        if path in self.taken or any(parent in self.taken for parent in path.parents):
            return True
        return any(
            path.name.endswith(ending) and self.taken.get(path.with_name(path.name.removesuffix(ending))) == kind
            for kind, endings in _SIDE_FILES.items()
            for ending in endings
        )

    def tell(self, sentence: str) -> None:
        """Notes what a person should know, once."""
        sentence = shown(sentence)
        if sentence not in self.others:
            self.others.append(sentence)

    def found(self) -> Found:
        """The result."""
        for path in self.seen.unread:
            self.tell(f"{path}: cannot be read.")
        if not self.seen.complete:
            self.tell(
                "There is more here than was looked at: five folders deep, 20,000 entries. Add what is missing by hand."
            )
        data = PurePosixPath("data")
        repository = "data/backups" if data in self.seen.folders and data not in self.taken_whole() else "backups"
        return Found(self.folder, tuple(self.sources), tuple(self.others), repository, self.env_file)

    def taken_whole(self) -> set[PurePosixPath]:
        """Folders that a source takes as they are: a repository must not lie inside one."""
        return {path for path in self.taken if path in self.seen.folders}


def _patterns(inner: PurePosixPath, folder: PurePosixPath, kind: str) -> list[str]:
    """Exclude patterns (gitignore syntax) for what another source takes inside a folder."""
    name = "/" + re.sub(r"([\\*?\[\]!# ])", r"\\\1", str(inner.relative_to(folder)))
    kept = f"{name}.before-restore-*"  # what a restore of that source leaves beside it
    if kind in _SIDE_FILES:
        return [name, *(name + ending for ending in _SIDE_FILES[kind]), kept]
    return [name + "/", kept]


def _name(text: str, fallback: str) -> str:
    """A name that can be used, near to `text`."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-_")[:48].strip("-_") or fallback


def _unused(name: str, used: set[str]) -> str:
    if name.lower() not in used:
        return name
    number = 2
    while f"{name}-{number}".lower() in used:
        number += 1
    return f"{name}-{number}"


def render(found: Found, stack: str) -> str:
    """The text of a configuration that takes all that was found, with comments. It can be loaded as it is.

    Args:
        found: what was found.
        stack: the stack's name.
    """
    return "\n".join(_rendered(found, stack)) + "\n"


def _rendered(found: Found, stack: str) -> Iterator[str]:
    yield schema_lines().rstrip()
    yield "# All keys: `recoup config sample`. What is in effect: `recoup config show`."
    yield "version: 1"
    yield f"stack: {flow(stack)}"
    yield ""
    yield from _sources(found.sources)
    yield ""
    yield "repositories:"
    yield "  local:"
    yield f"    path: {flow(found.repository)}"
    yield "    keep:"
    yield "      # The newest seven sets; nothing is removed until `recoup prune` or `recoup backup --prune`."
    yield "      last: 7"
    yield ""
    if not found.env_file:
        yield "# The .env file here cannot be read as one."
        yield "env_file: null"
        yield ""
    yield "# Whether hosts other than this machine may be contacted."
    yield "allow_remote: false"
    yield ""
    yield "# What runs when: take the marks away, then start `recoup daemon`, or let `recoup schedule install` have it called."
    yield from (f"# {line}" for line in SAMPLE.splitlines())
    if found.others:
        yield ""
        yield "# Also found, and NOT backed up by this file:"
        yield from (f"# - {sentence}" for sentence in found.others)


def _sources(sources: Sequence[FoundSource]) -> Iterable[str]:
    if not sources:
        yield "# Nothing was found that can be backed up. Add what there is, for example:"
        yield "#   chat:"
        yield "#     kind: sqlite"
        yield "#     path: data/chat.db"
        yield "sources: {}"
        return
    yield "sources:"
    for source in sources:
        yield f"  # {source.meaning}"
        yield f"  {flow(source.name)}:"
        yield f"    kind: {source.kind}"
        if source.place:
            yield f"    {source.place}: {flow(_as_text(_as_path(source.path)))}"
        for key, value in source.settings.items():
            yield f"    {key}: {flow([_as_text(item) for item in value] if isinstance(value, list) else value)}"


def _as_path(path: str) -> str:
    """A folder that is really called `~` is not the home folder."""
    return f"./{path}" if path.startswith("~") else path


def _as_text(text: str) -> str:
    """A `$` in a name is no variable."""
    return text.replace("$", "$$")
