"""From files, variables and options to checked settings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from recoup.config import (
    _building,
    _faults,
    _keyed,
    _keys_of,
    _notify,
    _schedule,
    _search,
    _secrets,
    _variables,
    _watch,
    _web,
    _yaml,
)
from recoup.config._faults import Fault
from recoup.config._tree import DEFAULT, KeyPath, Node, Origin, child, merge, plain, put, walk
from recoup.config.settings import Settings
from recoup.errors import ConfigError
from recoup.model.names import SOURCE_NAME
from recoup.model.secrets import Masker
from recoup.model.structs import Struct
from recoup.storage._object_options import ObjectOptions
from recoup.system import plugs

if TYPE_CHECKING:
    from recoup.sinks._notifying import NotifyOptions
    from recoup.sources._base import SourceOptions

_ROOM = "recoup.sources"
_TEXT_WANTED = {"string_type", "path_type", "string_sub_type"}  # pydantic's names for "this must be a text"
_HOME_KEYS = {"path", "recipients", "staging", "jsonl", "log", "report", "env_file", "restore_folder"}
_BY_PLUGS = ("sources", "notify")  # keys that are read by plugs
_ENDINGS = (_secrets.FILE_SUFFIX, _secrets.COMMAND_SUFFIX)

M = TypeVar("M", bound=BaseModel)


class Loaded(Struct):
    """A configuration that was read and checked.

    Attributes:
        settings: all settings but the sources.
        sources: each source's settings, by name, in the order of the file.
        base: folder that relative paths are relative to: that of the first file.
        files: the files that were read, the weakest first.
        origins: where each value was set; what is not here has its default.
        secrets: everything that must never be shown.
        warnings: sentences that a person should read.
        notify: whom to tell of runs and conditions, by name.
        overrides: `KEY=VALUE` with dotted keys, as they were given.
    """

    settings: Settings
    sources: "Mapping[str, SourceOptions]"
    base: Path
    files: tuple[Path, ...]
    origins: Mapping[KeyPath, Origin]
    secrets: frozenset[str]
    warnings: tuple[str, ...]
    notify: "Mapping[str, NotifyOptions]" = field(default_factory=dict)
    overrides: tuple[str, ...] = ()

    def origin(self, path: KeyPath) -> Origin:
        """Where the value at a key path was set."""
        return self.origins.get(path, DEFAULT)


def load(paths: Sequence[Path], overrides: Sequence[str], environ: Mapping[str, str], cwd: Path) -> Loaded:
    """Reads the configuration and checks all of it.

    From the weakest to the strongest: defaults, the files in their order, keys set in `.env`, keys set in the environment
    (`RECOUP__SOURCES__CACHE__PATH`), `overrides`.

    Args:
        paths: files named by the person, relative to `cwd`; none means the usual places.
        overrides: `KEY=VALUE` with dotted keys.
        environ: the environment.
        cwd: the working folder, absolute.

    Raises:
        ConfigError: nothing was found, or something is wrong; the message tells all of it, without a secret.
    """
    places = _search.found(paths, environ, cwd)
    return _Loading(places[0].path.parent, environ, overrides).run(places)


def has_configuration(environ: Mapping[str, str], cwd: Path) -> bool:
    """Whether there is a configuration in one of the usual places (it need not be a correct one)."""
    try:
        _search.found((), environ, cwd)
    except ConfigError:
        return False
    return True


def without_file(base: Path) -> Loaded:
    """The configuration of somebody who has none: a stack without sources and repositories, all else by default.

    Args:
        base: folder that relative paths are relative to.
    """
    return Loaded(Settings(version=1, stack="unnamed"), {}, base, (), {}, frozenset(), ())


@dataclass
class _Loading:
    """One reading; what is secret becomes known on the way."""

    base: Path
    environ: Mapping[str, str]
    overrides: Sequence[str]

    def run(self, places: Sequence[_search.Place]) -> Loaded:
        files = [self._file(place) for place in places]
        tree = files[0]
        for stronger in files[1:]:
            tree = merge(tree, stronger)
        variables = self._dotenv(self._laid_over(tree))
        try:
            tree, brought = _variables.expand(self._laid_over(tree, variables), variables)
        except ConfigError as error:
            mask = Masker([*_secrets.of_tree(tree, ()), *_secrets.of_variables(variables.dotenv)])
            raise ConfigError(mask(error.message), mask(error.hint)) from None
        tree = _with_home(tree, self.environ.get("HOME", ""))
        secrets = {*_secrets.of_tree(tree, brought), *_secrets.of_variables(variables.dotenv)}
        return self._checked(tree, secrets, _notes(variables), tuple(place.path for place in places))

    def _file(self, place: _search.Place) -> Node:
        node = _yaml.read(place.path, place.shown)
        if not isinstance(node.value, Mapping):
            raise ConfigError(
                f"{node.origin}: this is {_faults.shown(node, secret=True)}.", "Write keys, as in `version: 1`."
            )
        return node

    def _laid_over(self, tree: Node, variables: _variables.Variables | None = None) -> Node:
        """`tree` with all that is set outside of files."""
        if variables:
            lines = {name: Origin("file", variables.shown, None, line) for name, line in variables.lines.items()}
            tree = _variables.keys_from(variables.dotenv, tree, lines)
        return _variables.overridden(_variables.keys_from(self.environ, tree), tuple(self.overrides))

    def _dotenv(self, tree: Node) -> _variables.Variables:
        """Reads the `.env` file that the configuration names; the default one only where there is one."""
        usual = str(Settings.model_fields["env_file"].default)
        named = child(tree, "env_file") or Node(usual, DEFAULT)
        expanded = _home(_variables.expand(named, self._without_dotenv)[0], self.environ.get("HOME", ""))
        name = expanded.value if isinstance(expanded.value, str) else expanded.text
        if expanded.value is None or name is None:
            return self._without_dotenv  # switched off, or no path at all, which the check of all settings tells
        if name == usual and not (self.base / name).is_file():
            return self._without_dotenv
        shown = str(named.value)  # as written: a variable in it may hold a secret
        try:
            return _variables.read_dotenv(self.base / name, shown, self.environ)
        except ConfigError as error:
            where = "" if named.origin is DEFAULT else f"{named.place}: "
            raise ConfigError(f"{where}{error.message}", error.hint) from None

    @property
    def _without_dotenv(self) -> _variables.Variables:
        return _variables.Variables(self.environ)

    def _checked(self, tree: Node, secrets: set[str], notes: Sequence[str], files: tuple[Path, ...]) -> Loaded:
        faults: list[Fault] = []
        warnings = list(notes)
        sources: dict[str, SourceOptions] = {}
        found = child(tree, "sources")
        for name, node in _source_nodes(found, faults):
            options = self._source(name, node, secrets, warnings, faults)
            if options is not None:
                sources[name] = options
        tree = self._with_secrets(tree, secrets, warnings)
        notified = child(tree, "notify")
        notify = self._notify(notified, secrets, warnings, faults)
        rest = tree.with_entries({key: entry for key, entry in tree.entries.items() if key not in _BY_PLUGS})
        settings = _validated(Settings, rest, (), faults, extra_keys=_BY_PLUGS)
        for repository in settings.repositories.values() if settings else ():
            secrets.update(_secrets.of_model(repository))
        secrets.update(_secrets.of_model(settings.web) if settings else ())
        faults += _twins(child(tree, "repositories"), ("repositories",))
        if settings is not None:
            named = frozenset(found.entries if found else ())
            faults += _schedule.faults(settings.schedule, child(tree, "schedule"), named, settings.repositories)
            faults += _watch.faults(settings.watch, child(tree, "watch"), named)
            faults += _notify.strangers(notified, named)
            faults += _building.faults(sources, settings.repositories, found)
            faults += _keys_of.faults(settings.repositories, child(tree, "repositories"))
        faults.sort(key=lambda fault: (fault.origin.name, fault.origin.line, fault.origin.column))
        _faults.raise_all(faults, Masker(secrets))
        if settings is None:
            raise ConfigError("the configuration cannot be used.")
        if not sources:
            warnings.append("no sources are configured: there is nothing to back up.")
        if not settings.repositories:
            warnings.append("no repositories are configured: there is no place for backups.")
        warnings.extend(_keyed.remarks(settings, sources))
        origins = {path: node.origin for path, node in walk(tree) if path}
        return Loaded(
            settings,
            sources,
            self.base,
            files,
            origins,
            frozenset(secrets - {""}),
            tuple(map(Masker(secrets), warnings)),
            notify,
            tuple(self.overrides),
        )

    def _with_secrets(self, tree: Node, secrets: set[str], warnings: list[str]) -> Node:
        """The tree with the secrets of object stores and of the page's accounts fetched."""
        repositories = child(tree, "repositories")
        holders: list[tuple[type[BaseModel], KeyPath]] = [
            (ObjectOptions, ("repositories", name, "storage"))
            for name in (repositories.entries if repositories else ())
        ]
        holders += [(_web.AccountSettings, ("web", role)) for role in _web.ROLES]
        for model, path in holders:
            there, found = _faults.deepest(tree, path)
            if there == path and isinstance(found.value, Mapping):
                resolved = _secrets.resolve(model, found, self.base, path)
                secrets.update(resolved.secrets)
                warnings.extend(resolved.warnings)
                tree = put(tree, path, resolved.node)
        return tree

    def _notify(
        self, found: Node | None, secrets: set[str], warnings: list[str], faults: list[Fault]
    ) -> "dict[str, NotifyOptions]":
        options: list[NotifyOptions] = []
        for index, node, plug in _notify.entries(found, faults):
            path: KeyPath = ("notify", index)
            resolved = _secrets.resolve(plug.Options, node, self.base, path)
            secrets.update(resolved.secrets)
            warnings.extend(resolved.warnings)
            one: NotifyOptions | None = _validated(plug.Options, resolved.node, path, faults)
            if one is not None:
                secrets.update(one.secrets())
                options.append(one)
        faults += _notify.twins(options, found)
        return _notify.named(options)

    def _source(
        self, name: str, node: Node, secrets: set[str], warnings: list[str], faults: list[Fault]
    ) -> "SourceOptions | None":
        path: KeyPath = ("sources", name)
        plug = _plug(node, path, faults)
        if plug is None:
            return None
        resolved = _secrets.resolve(plug.Options, node, self.base, path)
        secrets.update(resolved.secrets)
        warnings.extend(resolved.warnings)
        options: SourceOptions | None = _validated(plug.Options, resolved.node, path, faults)
        if options is not None:
            secrets.update(_secrets.of_model(options))
        return options


def _source_nodes(found: Node | None, faults: list[Fault]) -> Iterator[tuple[str, Node]]:
    """The sources whose names and shapes are right; faults for the others."""
    if found is None:
        return
    if not isinstance(found.value, Mapping):
        advice = "Allowed: a group of keys, one for each source, as in `chat: {kind: sqlite, path: chat.db}`."
        faults.append(Fault(found.place, ("sources",), f"is {_faults.shown(found)}", advice))
        return
    faults += _twins(found, ("sources",))
    for name, node in found.value.items():
        if not SOURCE_NAME.match(name):
            advice = "Allowed: at most 64 letters, digits, `-` and `_`, the first a letter or digit."
            faults.append(Fault(node.place, ("sources", name), "is not a name that can be used here", advice))
        elif not isinstance(node.value, Mapping):
            advice = "Allowed: a group of keys, as in `{kind: sqlite, path: chat.db}`."
            faults.append(Fault(node.place, ("sources", name), f"is {_faults.shown(node)}", advice))
        else:
            yield name, node


def _twins(found: Node | None, above: KeyPath) -> list[Fault]:
    """Names that differ in case only: they would be one folder on some platforms."""
    seen: dict[str, str] = {}
    faults = []
    for name, node in (found.entries if found else {}).items():
        first = seen.setdefault(name.lower(), name)
        if first != name:
            faults.append(
                Fault(node.place, (*above, name), f"differs from `{first}` in case only", "Choose another name.")
            )
    return faults


def _plug(node: Node, path: KeyPath, faults: list[Fault]) -> ModuleType | None:
    """The module of a source's kind."""
    kinds = plugs.kinds(_ROOM)
    kind = child(node, "kind")
    if kind is None:
        faults.append(Fault(node.place, (*path, "kind"), "is missing", f"Allowed: {', '.join(kinds)}."))
    elif kind.value not in kinds:
        word = kind.value if isinstance(kind.value, str) else ""
        faults.append(
            Fault(kind.place, (*path, "kind"), f"is {_faults.shown(kind)}", _faults.unknown_word(word, kinds))
        )
    else:
        return plugs.load(_ROOM, str(kind.value))
    return None


def _validated(
    model: type[M], node: Node, path: KeyPath, faults: list[Fault], extra_keys: tuple[str, ...] = ()
) -> M | None:
    """The model's value; None, and faults, where it is wrong.

    Where a text is wanted and YAML made a number of it, the spelling counts: `password: 0123` needs no quotes.
    """
    try:
        return model.model_validate(plain(node))
    except ValidationError as error:
        spelled = _spelled(node, error)
    try:
        return model.model_validate(plain(spelled))
    except ValidationError as error:
        schema = model.model_json_schema()
        also = (*extra_keys, *(name + ending for name in _secrets.secret_fields(model) for ending in _ENDINGS))
        schema["properties"].update({key: {} for key in also})
        faults += _faults.translate(error, spelled, schema, path)
    return None


def _spelled(node: Node, error: ValidationError) -> Node:
    """`node` with the spelling of scalars where the model wants a text; the same object when there is none."""
    for detail in error.errors(include_url=False, include_input=False):
        if detail["type"] not in _TEXT_WANTED:
            continue
        path, found = _faults.deepest(node, tuple(detail["loc"]))
        empty_in_file = found.value is None and found.origin.kind == "file"
        if path and found.text is not None and not isinstance(found.value, str) and not empty_in_file:
            node = put(node, path, replace(found, value=found.text))
    return node


def _with_home(node: Node, home: str) -> Node:
    """A leading `~/` in keys that say a place stands for the home folder, as in a shell."""
    for path, found in list(walk(node)):
        key = _secrets.last_key(path)
        if key in _HOME_KEYS or key.endswith(_secrets.FILE_SUFFIX):
            expanded = _home(found, home)
            if expanded is not found:
                node = put(node, path, expanded)
    return node


def _home(node: Node, home: str) -> Node:
    if home and isinstance(node.value, str) and (node.value == "~" or node.value.startswith("~/")):
        return replace(node, value=home + node.value[1:], text=None)
    return node


def _notes(variables: _variables.Variables) -> list[str]:
    """Warnings about the `.env` file."""
    return [f"{variables.shown}:{line} is not NAME=value and was left out." for line in variables.unreadable_lines]
