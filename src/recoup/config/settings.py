"""The settings of a stack, as frozen values. Descriptions are what `config sample`, `config schema` and the reference print.

The sources are not here: each is read by its plug's own `Options` (`recoup.sources`).
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from recoup.config import _dedup
from recoup.config._dedup import Percent
from recoup.config._durations import Duration
from recoup.config._encrypt import EncryptSettings
from recoup.config._group import Group, Name, TimeZone
from recoup.config._schedule import ScheduleLine
from recoup.config._watch import WatchSettings
from recoup.config._web import WebSettings
from recoup.errors import ConfigError
from recoup.storage._object_options import ObjectOptions, Size

if TYPE_CHECKING:
    from recoup.repository.keyed.template import Template

OBJECT_SCHEMES = ("s3", "gs", "az", "memory")
"""What the URLs of object stores begin with; `memory://name` lives as long as the process, for tests."""

_SCHEMES = "s3://, gs://, az://, file://"
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)


def _compression(value: Any) -> Any:
    """Other programs' yes and no, as `BACKUP_COMPRESSION=true`."""
    spoken = str(value).lower() if isinstance(value, bool | str) else ""
    return {"true": "zstd", "false": "none"}.get(spoken, value)


def _or_boolean(schema: dict[str, Any]) -> None:
    """The same for editors."""
    words = {key: schema.pop(key) for key in ("enum", "type")}
    schema["anyOf"] = [words, {"type": "boolean"}]


def _some_time(span: str) -> str:
    if not any(digit in span for digit in "123456789"):
        raise ValueError(f"'{span}' is no time at all; write at least one hour, or leave the key out")
    return span


def _url(url: str) -> str:
    found = _URL.match(url)
    if not found:
        raise ValueError("a URL begins with a scheme, as in s3://bucket/prefix; for a folder use `path`")
    scheme = found[1].lower()
    if scheme in OBJECT_SCHEMES:
        return _object_url(scheme + url[len(scheme) :])
    if scheme != "file":
        raise ValueError(f"storage at '{scheme}://' is not available in this version; allowed: {_SCHEMES}")
    if not url[len("file://") :].startswith("/"):
        raise ValueError("a file URL names an absolute path, with three slashes: file:///srv/backups")
    return url


def _object_url(url: str) -> str:
    from recoup.storage._object_stores import split

    try:
        split(url)
    except ConfigError as error:
        raise ValueError(f"{error.message}; {error.hint}") from None
    return url


Count = Annotated[int, Field(ge=0)] | Literal["unlimited"]
"""How many to keep: a number, or all."""

Span = Annotated[
    str,
    StringConstraints(pattern=r"^([0-9]{1,4}y)?([0-9]{1,5}m)?([0-9]{1,6}d)?([0-9]{1,6}h)?$", min_length=2),
    AfterValidator(_some_time),
]
"""A length of time as restic writes it: `2y5m7d3h` is two years, five months, seven days and three hours."""


class KeepSettings(Group):
    """Which sets `prune` keeps; a set stays when any rule keeps it. With no rule at all everything stays."""

    last: Count | None = Field(None, description="The newest sets, this many.")
    hourly: Count | None = Field(
        None, description="The newest set of each of the last hours that have one, this many hours."
    )
    daily: Count | None = Field(
        None, description="The newest set of each of the last days that have one, this many days."
    )
    weekly: Count | None = Field(
        None, description="The newest set of each of the last ISO weeks that have one, this many weeks."
    )
    monthly: Count | None = Field(
        None, description="The newest set of each of the last months that have one, this many months."
    )
    yearly: Count | None = Field(
        None, description="The newest set of each of the last years that have one, this many years."
    )
    within: Span | None = Field(None, description="Every set made within this time before the newest one.")
    within_hourly: Span | None = Field(
        None, description="One set for each hour within this time before the newest one."
    )
    within_daily: Span | None = Field(None, description="One set for each day within this time before the newest one.")
    within_weekly: Span | None = Field(
        None, description="One set for each ISO week within this time before the newest one."
    )
    within_monthly: Span | None = Field(
        None, description="One set for each month within this time before the newest one."
    )
    within_yearly: Span | None = Field(
        None, description="One set for each year within this time before the newest one."
    )
    tags: tuple[str, ...] = Field((), description="Every set that has one of these tags, written `key=value`.")
    min: Annotated[int, Field(ge=1)] = Field(
        1, description="Never fewer complete sets than this, whatever the rules say."
    )


_PLAIN = ObjectOptions()


class RepositorySettings(Group):
    """A place where backup sets are kept. Either `path` or `url`."""

    path: Path | None = Field(None, description="The repository's folder.")
    url: Annotated[str, AfterValidator(_url)] | None = Field(
        None,
        description="The repository's place as a URL: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix` "
        "or `file:///folder`.",
    )
    storage: ObjectOptions = Field(default_factory=ObjectOptions, description="How the object store of `url` is used.")
    layout: Literal["sets", "keyed", "dedup"] = Field(
        "sets",
        description="How sets are laid out. `sets`: a folder for each. `keyed`: what is one file for each collection, table, "
        "database or folder gets a key by `key` or `name`, everything else lies below `_recoup/`. "
        "Both are readable without Recoup. `dedup`: encrypted, and each set costs only what changed.",
    )
    key: str | None = Field(
        None,
        description="With `layout: keyed`: template of the keys, as `{user_id}/snapshots/{collection}/{date}.snapshot`. Fields: "
        "`part` (or `collection`, `table`, `database`, `folder`, the same), `source`, `date` (UTC; a format may follow, as in "
        "`{date:%Y%m%d_%H%M%S}`) and those in `fields`.",
    )
    name: str | None = Field(
        None, description="The same for files right in the repository's folder, as `{collection}_{date}.snapshot`."
    )
    fields: Mapping[str, str] = Field(
        {}, description="What fields of your own in `key` or `name` stand for, as `user_id: user-123`."
    )
    adopt: bool = Field(
        False,
        description="With `layout: keyed`: whether `keep` also goes for files of that shape that other tools put there. "
        "Without it they are listed and never removed.",
    )
    password_file: Path | None = Field(
        None,
        description="With `layout: dedup`: file that holds the passphrase, and nothing else. One of this, `key_file`, "
        "`identity_file` and `writer_key_file` opens the repository; a new one gets a keyslot for it.",
    )
    key_file: Path | None = Field(
        None,
        description="The same with a file of at least 32 bytes that nobody can guess, as from `recoup key export`.",
    )
    identity_file: Path | None = Field(None, description="The same with an age identity, as `age-keygen` writes it.")
    writer_key_file: Path | None = Field(
        None,
        description="The same for a host that can add sets and read none: the file that `recoup key export --write-only` made.",
    )
    recipients: tuple[str, ...] = Field(
        (),
        description="With `layout: dedup`: public keys (`age1...`, `ssh-ed25519 ...`, `ssh-rsa ...`), or files of such lines, "
        "for which a new repository gets a keyslot, too.",
    )
    keys_of: str | None = Field(
        None,
        description="With `layout: dedup`: name of another repository whose keys a new one gets, beside a keyslot of its own. "
        "Then `copy` between the two takes over what is stored as it is.",
    )
    grace: Duration = Field(
        "1d",
        validate_default=True,
        description="With `layout: dedup`: how long `prune` keeps data that nothing uses any more; longer than any backup runs.",
    )
    cache: Literal[0] | Size = Field(
        0, description="With `layout: dedup`: how much of what is stored is kept on this machine, too, as in 10GB."
    )
    delta: Literal["auto", "on", "off"] = Field(
        "auto",
        description="With `layout: dedup`: whether changed data are stored as differences. `auto`: where what they differ from "
        "can be read quickly, in a folder or in `cache`.",
    )
    max_unused: Percent = Field(
        "10%",
        validate_default=True,
        description="With `layout: dedup`: the share of a pack that may be unused before `prune` writes its rest anew.",
    )
    pack: Literal["tree", "tar", "tar.zst", "tar.gz"] = Field(
        "tree",
        description="How folders are stored: as folders, or each in one archive. "
        "With `encrypt` always as archives: without this key as `tar`.",
    )
    compression: Annotated[Literal["none", "zstd", "gzip"], BeforeValidator(_compression)] = Field(
        "none",
        description="How single files are compressed. What other programs call `true` and `false`, as in "
        "`BACKUP_COMPRESSION=true`, is zstd and none.",
        json_schema_extra=_or_boolean,
    )
    compression_level: Annotated[int, Field(ge=1, le=22)] | None = Field(
        None,
        description="How hard to compress: 1 to 22 with zstd, 1 to 9 with gzip. Without it the program's own default.",
    )
    encrypt: EncryptSettings | None = Field(
        None, description="Encrypts every stored file; what was stored before stays as it is."
    )
    encrypt_manifest: bool = Field(
        False,
        description="With `encrypt`: encrypts manifests, too. Then `list`, `status` and `prune` need what opens them.",
    )
    keep: KeepSettings = Field(default_factory=KeepSettings, description="Which sets `prune` keeps.")
    time_zone: TimeZone = Field(
        "UTC",
        description="Time zone in which hours, days, weeks, months and years of `keep` begin, for example Europe/Berlin.",
    )
    prune_after_backup: bool = Field(False, description="Prune after each complete backup, as `backup --prune` does.")
    trash_days: Annotated[float, Field(ge=0)] = Field(
        0.0, description="Days for which a deleted set can be taken back with `undelete`; 0 removes it at once."
    )
    free_space_factor: Annotated[float, Field(ge=1)] = Field(
        1.1, description="Free space that a backup asks for, as a multiple of what the sources are estimated to need."
    )

    @model_validator(mode="after")
    def _one_place(self) -> "RepositorySettings":
        if self.path is not None and self.url is not None:
            raise ValueError("`path` and `url` are both given; keep one of them")
        if self.path is None and self.url is None:
            raise ValueError("there is neither `path` nor `url`; add `path: FOLDER`")
        return self

    @model_validator(mode="after")
    def _keyed(self) -> "RepositorySettings":
        given = [name for name in ("key", "name", "fields", "adopt") if getattr(self, name)]
        if self.layout == "keyed":
            self._check_template()
        elif given:
            raise ValueError(f"`{given[0]}` has no meaning without `layout: keyed`")
        return self

    def _check_template(self) -> None:
        if (self.key is None) == (self.name is None):
            raise ValueError("`layout: keyed` needs exactly one of `key` and `name`")
        if self.name is not None and "/" in self.name:
            raise ValueError("`name` has a slash; write the whole template as `key`")
        _ = self.template

    @model_validator(mode="after")
    def _dedup(self) -> "RepositorySettings":
        usual = {key: field.default for key, field in type(self).model_fields.items()} | _dedup.USUAL
        given = frozenset(key for key in self.model_fields_set if getattr(self, key) != usual[key])
        _dedup.check(self.layout, given, self.grace)
        return self

    @property
    def template(self) -> "Template | None":
        """The template of a keyed repository's artefacts; None for another layout."""
        text = self.key or self.name
        if text is None:
            return None
        from recoup.repository.keyed.template import parse

        return parse(text, self.fields)

    @property
    def scheme(self) -> str:
        """What the URL begins with; `file` for a folder."""
        return "file" if self.url is None else str(self.url).partition("://")[0].lower()

    @model_validator(mode="after")
    def _storage_fits(self) -> "RepositorySettings":
        given = [name for name in ObjectOptions.model_fields if getattr(self.storage, name) != getattr(_PLAIN, name)]
        strange = given if self.scheme == "file" else self.storage.without_meaning(self.scheme)
        if strange:
            named = ", ".join(f"`{name}`" for name in strange)
            raise ValueError(f"`storage` has {named}, without meaning for {self.scheme}://; remove it")
        return self

    @model_validator(mode="after")
    def _encrypts(self) -> "RepositorySettings":
        if self.encrypt is None and self.encrypt_manifest:
            raise ValueError("`encrypt_manifest` needs `encrypt`")
        if self.encrypt is not None and self.pack == "tree" and "pack" in self.model_fields_set:
            raise ValueError(
                "`pack: tree` shows the name and size of each file; with `encrypt` choose tar, tar.zst or tar.gz"
            )
        return self

    @model_validator(mode="after")
    def _level_fits(self) -> "RepositorySettings":
        gzip = "gzip" if self.compression == "gzip" else "tar.gz" if self.pack == "tar.gz" else ""
        if gzip and self.compression_level is not None and self.compression_level > 9:
            raise ValueError(f"`compression_level` is {self.compression_level}, and {gzip} goes up to 9; choose 1 to 9")
        return self


class EventSettings(Group):
    """Where the news of a run are written, besides the terminal."""

    jsonl: Path | None = Field(None, description="File to which each event is appended as one line of JSON.")
    format: Literal["full", "exact"] = Field(
        "full",
        description="`full` adds to every line the event's name, its time and the set; "
        "`exact` writes `backup_created` and `backup_pruned` alone, with their own keys and no other.",
    )
    log: Path | None = Field(None, description="File to which plain log lines are appended.")


class ExecutionSettings(Group):
    """Settings of where independent pieces of work are done."""

    dask: Annotated[str, StringConstraints(pattern=r"^[a-z]+://[^@\s]+$")] | None = Field(
        None,
        description="Address of a Dask scheduler, `tcp://HOST:8786` or `tls://HOST:8786`: shards and collections are captured, "
        "and sets verified, drilled, copied and restored, by its workers. Without it, this machine does everything.",
    )


class Settings(Group):
    """All settings of a stack but its sources."""

    version: Literal[1] = Field(description="Version of this file's format.")
    stack: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] = Field(
        description="Name of the stack; backups of one stack belong together."
    )
    repositories: Mapping[Name, RepositorySettings] = Field(
        default_factory=dict, description="Where backup sets are kept, by name."
    )
    events: EventSettings = Field(default_factory=EventSettings, description="Where the news of a run are written.")
    schedule: tuple[ScheduleLine, ...] = Field(
        (), description="What `recoup daemon` and `recoup schedule tick` run, and when: a list of jobs."
    )
    watch: WatchSettings = Field(
        default_factory=WatchSettings, description="From when on `recoup status` calls something a problem."
    )
    web: WebSettings = Field(default_factory=WebSettings, description="The page that `recoup web` serves.")
    staging: Path | None = Field(
        None,
        description="Folder for copies made while a source is captured. Without it, a folder beside the repository, or, "
        "where that is encrypted, in the system's temporary folder.",
    )
    allow_remote: bool = Field(True, description="Whether hosts other than this machine may be contacted.")
    execution: ExecutionSettings = Field(
        default_factory=ExecutionSettings, description="Where independent pieces of work are done."
    )
    env_file: Path | None = Field(
        Path(".env"),
        description="File with variables for `${NAME}`; read when present, `null` for none. The environment wins.",
    )
