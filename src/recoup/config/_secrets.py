"""What is secret in a configuration, and secrets that lie elsewhere: `<key>_file` and `<key>_command`."""

import re
import shlex
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import BaseModel, SecretStr

from recoup.config._tree import KeyPath, Node, dotted, plain, walk
from recoup.config._variables import Brought
from recoup.errors import ConfigError
from recoup.model.structs import Struct
from recoup.system import subprocesses

FILE_SUFFIX, COMMAND_SUFFIX = "_file", "_command"

_LARGEST_SECRET = 64 * 1024  # bytes
_LONGEST_WAIT = 120.0  # seconds; a password store may ask its owner first

_SURE = {
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "secret",
    "secrets",
    "credential",
    "credentials",
    "apikey",
    "authorization",
}
_LIKELY = {"token", "key", "auth", "salt", "cookie", "signature", "sig", "dsn", "bearer"}
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_NO_SECRETS = {"true", "false", "yes", "no", "on", "off", "none", "null", ""}

_PLACES = {
    "path",
    "recipients",
    "jsonl",
    "log",
    "staging",
    "env_file",
    "url",
    "endpoint",
    "region",
    "profile",
    "host",
    "port",
    "user",
    "include",
    "exclude",
    "pointers",
    "kind",
    "stack",
}
"""Keys whose value a person has to be able to read in messages, also when a variable brought it in."""


def sounds_secret(name: str, value: str) -> bool:
    """Whether a variable or key of this name holds a secret: `DB_PASSWORD`, `apiKey`, `HF_TOKEN=hf_x`; not `USE_TOKEN=true`,
    nor `DB_PASSWORD_FILE=/run/secrets/db`, which says where one lies.

    Args:
        name: of the variable or key.
        value: what it holds.
    """
    words = {word.lower() for word in _WORDS.findall(name)}
    if value.strip().lower() in _NO_SECRETS or ("file" in words and value.startswith("/")):
        return False
    if words & _SURE:
        return True
    return bool(words & _LIKELY) and not (value.isdecimal() and len(value) < 6)


def in_url(text: str) -> Iterator[str]:
    """The secrets inside a URL: its password, and values of its query whose names sound secret; as written and decoded."""
    if "://" not in text:
        return
    try:
        parts = urlsplit(text.strip())
    except ValueError:
        return
    _, at, _ = parts.netloc.rpartition("@")
    if at:
        _, colon, password = parts.netloc.rpartition("@")[0].partition(":")
        if colon and password:
            yield from (password, unquote(password))
    for name, value in parse_qsl(parts.query):
        if sounds_secret(name, value):
            yield value


def of_tree(tree: Node, brought: Iterable[Brought]) -> Iterator[str]:
    """Every secret of a configuration: in URLs, under keys that sound secret, and brought in by variables."""
    for path, node in walk(tree):
        if isinstance(node.value, str):
            yield from in_url(node.value)
            if holds_secret(last_key(path), node.value):
                yield node.value
        elif node.text is not None and holds_secret(last_key(path), node.text):
            yield node.text
    for item in brought:
        yield from in_url(item.value)
        if _is_secret(item):
            yield item.value


def last_key(path: KeyPath) -> str:
    """The key that a value belongs to; for an item of a list the list's key."""
    return next((step for step in reversed(path) if isinstance(step, str)), "")


def holds_secret(key: str, value: str) -> bool:
    """Whether the value of a key is a secret by the key's name; `<key>_file` and `<key>_command` only say where it is."""
    return not key.endswith((FILE_SUFFIX, COMMAND_SUFFIX)) and sounds_secret(key, value)


def _is_secret(item: Brought) -> bool:
    """What a variable brought in is secret unless it sounds harmless and goes to a key that says a place."""
    key = last_key(item.path)
    if sounds_secret(item.variable, item.value) or holds_secret(key, item.value):
        return True
    if "://" in item.value:
        return False  # its secrets are told one by one, so that the host can still be read
    return (item.whole or item.from_dotenv) and key not in _PLACES and not _is_plain(item.value)


def _is_plain(value: str) -> bool:
    return value.isdecimal() or value.strip().lower() in _NO_SECRETS


def of_variables(variables: Mapping[str, str]) -> Iterator[str]:
    """The secrets in a `.env` file, whether the configuration names them or not."""
    for name, value in variables.items():
        yield from in_url(value)
        if sounds_secret(name, value):
            yield value


def of_model(model: BaseModel) -> Iterator[str]:
    """The values of all secret fields of checked settings."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, SecretStr):
            yield value.get_secret_value()
        elif isinstance(value, BaseModel):
            yield from of_model(value)


def secret_fields(model: type[BaseModel]) -> tuple[str, ...]:
    """The fields of a model that are secrets: they can be given by `<field>_file` and `<field>_command` too."""
    return tuple(name for name, field in model.model_fields.items() if _is_secret_type(field.annotation))


def _is_secret_type(annotation: Any) -> bool:
    if get_origin(annotation) in (Union, UnionType):
        return any(map(_is_secret_type, get_args(annotation)))
    return isinstance(annotation, type) and issubclass(annotation, SecretStr)


class Resolved(Struct):
    """Settings with their secrets fetched.

    Attributes:
        node: the settings; `<field>_file` and `<field>_command` are replaced by `<field>`.
        secrets: what was fetched.
        warnings: sentences for the person.
    """

    node: Node
    secrets: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def resolve(model: type[BaseModel], node: Node, base: Path, path: KeyPath) -> Resolved:
    """Fetches the secrets of `model` that are given by `<field>_file` or `<field>_command`.

    Args:
        model: the plug's options.
        node: its settings.
        base: folder that relative paths are relative to; commands run there.
        path: the key path of `node`, for messages.

    Raises:
        ConfigError: a secret is given twice, its file cannot be read, or its command fails.
    """
    entries = dict(node.entries)
    secrets: list[str] = []
    warnings: list[str] = []
    for name in secret_fields(model):
        keys = (name, name + FILE_SUFFIX, name + COMMAND_SUFFIX)
        given = [key for key in keys if key in entries and entries[key].value is not None]
        if len(given) > 1:
            raise ConfigError(
                f"{entries[given[1]].place}: `{dotted((*path, given[1]))}` and `{given[0]}` are both given.",
                "Keep one of them.",
            )
        for key in keys[1:]:
            if key not in given:
                entries.pop(key, None)  # null is the default
        if not given or given[0] == name:
            continue
        found = entries.pop(given[0])
        if given[0].endswith(FILE_SUFFIX):
            secret, warning = _from_file(found, base, (*path, given[0]))
            warnings += warning
        else:
            secret = _from_command(found, base, (*path, given[0]))
        secrets.append(secret)
        entries[name] = replace(found, value=secret, text=None)
    return Resolved(node.with_entries(entries), tuple(secrets), tuple(warnings))


def _from_file(node: Node, base: Path, path: KeyPath) -> tuple[str, list[str]]:
    where = f"{node.place}: `{dotted(path)}`"
    if not isinstance(node.value, str) or not node.value:
        raise ConfigError(f"{where} is not the path of a file.", "Name a file that holds the secret and nothing else.")
    file = base / node.value
    try:
        with file.open("rb") as opened:
            mode = stat.S_IMODE(file.stat().st_mode)
            secret = opened.read(_LARGEST_SECRET + 1).decode()
    except OSError as error:
        raise ConfigError(
            f"{where}: {node.value} cannot be read ({error.strerror}).", "Look at the path and permissions."
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{where}: {node.value} is not UTF-8 text.", "Is this the right file?") from None
    if len(secret) > _LARGEST_SECRET:
        raise ConfigError(
            f"{where}: {node.value} is larger than 64 KiB, which no secret is.", "Is this the right file?"
        )
    secret = _stripped(secret, where, node.value)
    open_to_all = mode & (stat.S_IROTH | stat.S_IWOTH)
    return secret, [
        f"{node.value} holds a secret and is open to everyone: `chmod 600 {node.value}`."
    ] if open_to_all else []


def _from_command(node: Node, base: Path, path: KeyPath) -> str:
    where = f"{node.place}: `{dotted(path)}`"
    hint = "Write a list, as in [pass, show, qdrant]; no shell is involved."
    words = plain(node)
    if isinstance(words, str):
        try:
            words = shlex.split(words)
        except ValueError:
            raise ConfigError(f"{where}: a quote is not closed.", hint) from None
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise ConfigError(f"{where} is not a command.", hint)
    try:
        secret = subprocesses.answer_of(words, base, _LONGEST_WAIT)
    except subprocesses.ChildFailedError as error:
        raise ConfigError(f"{where}: {error.message}", "Run the command by hand to see why.") from None
    return _stripped(secret, where, "the command's answer")


def _stripped(secret: str, where: str, what: str) -> str:
    """The secret without the line end that editors and programs add."""
    stripped = secret.removesuffix("\n").removesuffix("\r")
    if not stripped or "\0" in stripped:
        raise ConfigError(f"{where}: {what} holds no secret.", "It must hold the secret and nothing else.")
    return stripped
