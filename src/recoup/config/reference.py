"""The reference of all keys as Markdown, made from the models: `docs/reference/configuration.md`."""

from collections.abc import Iterator

from recoup.config import _fields, _notify, _schemas
from recoup.config.schema import described

_INTRODUCTION = """\
# Configuration

This page is made from the code. `recoup config sample` prints the same as a commented file, `recoup config schema` as a JSON
schema, and `recoup config show` what is in effect, with the place where each value was set.

## Where it is looked for

The files named with `-c FILE` (several are laid over one another, the later one wins), else the file that the variable
`RECOUP_CONFIG` names, else the first of these that exists:

1. `./recoup.yaml`
2. `$XDG_CONFIG_HOME/recoup/recoup.yaml`, without that variable `~/.config/recoup/recoup.yaml`; on macOS also
   `~/Library/Application Support/recoup/recoup.yaml`
3. `/etc/recoup/recoup.yaml`

Relative paths are relative to the folder of the first file. A leading `~/` in `path`, `staging`, `jsonl`, `log`, `env_file`,
`restore_folder` and keys that end in `_file` stands for the home folder.

## What wins

From the weakest to the strongest: defaults, files in their order, keys set in the `.env` file, keys set in the environment,
`--set KEY=VALUE`. Groups of keys are merged key by key; lists and single values are replaced.

Every key can be set by the environment: `RECOUP__SOURCES__CACHE__PATH` is `sources.cache.path`, with two underscores at each
level, without regard to case, and with `_` for a `-` in a name. An unknown key there is an error too.

## Values

YAML 1.2: `02:00`, `on` and `yes` are texts, and a key that is given twice is an error. Where a text is wanted, a number counts
as it is spelled, so that `stack: 010` is the name "010".

In files, `${NAME}` stands for a variable, and `${NAME:-default}` gives a default for one that is not set or empty; `$$` is one
`$`. Variables come from the environment and from the file that `env_file` names; the environment wins.

## Secrets

Every key that is marked as *a secret text* can instead be given by `<key>_file` (a file that holds the secret and nothing else)
or `<key>_command` (a program with its arguments, which prints it; no shell is involved).

These are shown as `***` wherever Recoup prints, logs or stores something: secret texts, passwords inside URLs, values under keys
or from variables whose names sound secret (`password`, `token`, `key`, ...), everything of that kind in the `.env` file, and what
`${NAME}` brings in, unless the key says a place (`path`, `host`, ...) or the value is a number.
"""


def reference() -> str:
    """The page's text."""
    whole = described()
    blocks = [_INTRODUCTION, "## Top level\n", _table(_fields.of(whole, whole))]
    for field in _fields.of(whole, whole):
        if field.key == "sources":
            blocks += _by_kind(whole, "sources.<name>", "What is backed up.", "source-")
        elif field.key == "notify":
            blocks += _by_kind(whole, "notify[]", _notify.DESCRIPTION.partition(":")[0] + ".", "notify-")
        elif field.group is not None:
            blocks += _group(whole, field, field.key)
    return "\n".join(blocks)


def _by_kind(whole: _schemas.Schema, path: str, meaning: str, prefix: str) -> Iterator[str]:
    """The sections of what is read by plugs."""
    kinds = [name for name in whole["$defs"] if name.startswith(prefix)]
    yield f"## `{path}`\n"
    yield f"{meaning} `kind` says which keys there are besides.\n"
    for name in kinds:
        yield f"### `kind: {name.removeprefix(prefix)}`\n"
        fields = _fields.of(whole, whole["$defs"][name])
        yield _table(fields)
        for below in fields:
            if below.group is not None:
                yield from _group(whole, below, f"{path}.{below.key}", level=4)


def _group(whole: _schemas.Schema, field: _fields.Field, path: str, level: int = 2) -> Iterator[str]:
    """The section of a group of keys, then those of the groups inside it."""
    group = field.group or {}
    if field.named:
        path += ".<name>"
        group = next(_schemas.variants(whole, group["additionalProperties"]))
    if field.listed:
        path += "[]"
    fields = _fields.of(whole, group)
    yield f"{'#' * level} `{path}`\n"
    yield f"{field.meaning}\n"
    yield _table(fields)
    for below in fields:
        if below.group is not None:
            yield from _group(whole, below, f"{path}.{below.key}", level)


def _table(fields: list[_fields.Field]) -> str:
    rows = ["| Key | Allowed | Default | Meaning |", "|---|---|---|---|"]
    for field in fields:
        default = "required" if field.required else f"`{field.default}`" if field.default else ""
        cells = (f"`{field.key}`", field.allowed, default, field.meaning)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"
