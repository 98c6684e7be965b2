"""What the calls share: settings of a server, and a stack without a configuration file."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from recoup.errors import UsageError
from recoup.model.events import Emit
from recoup.sources._base import Site
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._options import Options
from recoup.system.clock import SystemClock

if TYPE_CHECKING:
    from recoup.app import Stack

KIND = "qdrant"
"""Kind of the sources that this is about."""

SOURCE = "vectors"
"""Name of the only source of a backup without a configuration."""

M = TypeVar("M", bound=BaseModel)


def options_of(url: str, api_key: str, settings: Mapping[str, Any]) -> Options:
    """Settings of a server.

    Raises:
        UsageError: one is wrong.
    """
    return checked(Options, {"kind": KIND, "url": url, **({"api_key": api_key} if api_key else {}), **settings})


def checked(model: type[M], values: Mapping[str, Any]) -> M:
    """A model's value.

    Raises:
        UsageError: it cannot be that.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        named = model.model_fields.get(str(first["loc"][0])) if first["loc"] else None
        if first["type"] == "string_pattern_mismatch" and named is not None:
            raise UsageError(  # without the text, which may have a password
                f"{first['loc'][0]} is not what it has to be", f"{named.description} As in {named.default}"
            ) from None
        known = ", ".join(model.model_fields)
        raise UsageError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", f"Known: {known}.") from None


def stack_of(repository: Path, options: Options, stack: str, emit: Emit, source: str = SOURCE) -> "Stack":
    """A stack of one source and one repository, without a configuration file."""
    from recoup.app import Stack
    from recoup.config.loading import Loaded
    from recoup.config.settings import RepositorySettings, Settings

    cwd = Path.cwd()
    settings = Settings(
        version=1, stack=stack or KIND, repositories={"to": RepositorySettings(path=repository.expanduser())}
    )
    secrets = frozenset({options.key} - {""})
    return Stack(Loaded(settings, {source: options}, cwd, (), {}, secrets, ()), None, emit, cwd, SystemClock())


@contextlib.contextmanager
def servers_of(settings: Options) -> Iterator[list[Server]]:
    """The nodes that the settings name."""
    with contextlib.ExitStack() as stack:
        urls = dict.fromkeys((settings.url, *settings.nodes))
        yield [stack.enter_context(Server(url, settings.key)) for url in urls]


def version_of(settings: Options) -> str:
    """The server's version."""
    with Server(settings.url, settings.key) as server:
        return server.version


def site_of(staging: Path, emit: Emit) -> Site:
    """What a source is handed.

    Args:
        staging: a folder of our own.
        emit: where news go.
    """
    return Site(name=SOURCE, base=Path.cwd(), staging=staging, clock=SystemClock(), emit=emit)
