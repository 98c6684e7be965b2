"""Whether a configuration means the same where no person's variables are set, as under cron and systemd."""

import os
from collections.abc import Mapping
from pathlib import Path

from recoup.config import loading
from recoup.config.loading import Loaded
from recoup.errors import ConfigError

_OVERRIDE = "recoup__"  # what variables that stand for keys begin with


def require_unattended(loaded: Loaded, environ: Mapping[str, str], home: str, kept: Mapping[str, str]) -> None:
    """Reads the configuration once more, as cron and systemd will have it read.

    Args:
        loaded: as it was read with the present variables, without `--set`.
        environ: those variables.
        home: home folder of the account that runs the schedule.
        kept: the variables that it will have.

    Raises:
        ConfigError: it cannot be read without the others, or says something else.
    """
    here = loading.load(loaded.files, (), {**environ, "HOME": home}, loaded.base)
    missing = _missing(loaded, environ, kept)
    try:
        there = loading.load(loaded.files, (), {"PATH": environ.get("PATH", ""), **kept, "HOME": home}, loaded.base)
    except ConfigError as error:
        raise ConfigError(
            f"under cron and systemd, which have no variables of your shell{missing}, the configuration is wrong: "
            f"{error.message}",
            _advice(loaded) if missing else error.hint,
        ) from None
    if (here.settings, here.sources, here.notify) != (there.settings, there.sources, there.notify):
        raise ConfigError(
            f"under cron and systemd the configuration would say something else than here, as they have no variables of your "
            f"shell{missing}",
            _advice(loaded),
        )


def _advice(loaded: Loaded) -> str:
    dotenv = loaded.base / (loaded.settings.env_file or ".env")
    return f"Write them into {dotenv}, which is read on every run; or name those that are no secrets with --env A,B."


def _missing(loaded: Loaded, environ: Mapping[str, str], kept: Mapping[str, str]) -> str:
    """The variables that are set and that the files speak of, in brackets."""
    text = "\n".join(Path(path).read_text(encoding="utf-8", errors="replace") for path in loaded.files)
    spoken = [name for name in environ if f"${{{name}" in text or name.lower().startswith(_OVERRIDE)]
    found = sorted(set(spoken) - set(kept))
    return f" ({', '.join(found)})" if found else ""


def chosen(loaded: Loaded, environ: Mapping[str, str], names: list[str]) -> dict[str, str]:
    """Variables that go along with what is installed, where everybody on the machine can read them.

    Raises:
        ConfigError: one is not set, or is a secret.
    """
    found = {}
    for name in names:
        value = environ.get(name, "")
        if not value:
            raise ConfigError(f"the variable {name} is not set", "Set it, or leave it out of --env.")
        if any(secret in value for secret in loaded.secrets):
            raise ConfigError(
                f"the variable {name} holds a secret, and what is installed can be read by everybody on this machine",
                f"Write it into {loaded.base / '.env'}, mode 0600, and leave it out of --env.",
            )
        found[name] = value
    return found


def words(loaded: Loaded) -> list[str]:
    """All texts that the configuration says: values, and the files as they are written."""
    models = [loaded.settings, *loaded.sources.values(), *loaded.notify.values()]
    values = [text for model in models for text in _texts(model.model_dump())]
    files = [Path(path).read_text(encoding="utf-8", errors="replace") for path in loaded.files]
    return [*values, *files]


def _texts(value: object) -> list[str]:
    if isinstance(value, str | os.PathLike):
        return [str(value)]
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, tuple | list | set | frozenset):
        return [text for item in value for text in _texts(item)]
    return []


def written(loaded: Loaded) -> list[str]:
    """Folders that a run writes to, absolute: repositories, staging, files of events."""
    settings = loaded.settings
    places = [repository.path for repository in settings.repositories.values()]
    places += [settings.staging, *(path.parent for path in (settings.events.jsonl, settings.events.log) if path)]
    urls = [str(repository.url) for repository in settings.repositories.values()]
    places += [Path(url.removeprefix("file://")) for url in urls if url.startswith("file:///")]
    return [str(loaded.base / place) for place in places if place is not None]
