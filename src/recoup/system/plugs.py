"""From a kind's name to its module: a new plug is a new file, and nothing else has to know."""

import importlib
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import Any

from recoup.errors import ConfigError


def kinds(room: str) -> tuple[str, ...]:
    """The kinds that a room has, by its file names (`qdrant_local.py` is `qdrant-local`), sorted.

    Args:
        room: package name, e.g. `recoup.sources`.
    """
    package = importlib.import_module(room)
    names = (info.name for info in pkgutil.iter_modules(package.__path__))
    return tuple(sorted(name.replace("_", "-") for name in names if not name.startswith("_")))


def load(room: str, kind: str) -> ModuleType:
    """The module of a kind.

    Raises:
        ConfigError: there is no such kind; the hint lists those that there are.
    """
    known = kinds(room)
    if kind not in known:
        raise ConfigError(f"unknown kind {kind!r}", f"Known kinds: {', '.join(known)}.")
    return importlib.import_module(f"{room}.{kind.replace('-', '_')}")


def function_named(target: str) -> Callable[..., Any]:
    """The function that `module:function` names, for children of our own; only Recoup's own modules are admitted.

    Raises:
        ConfigError: it lies outside the package.
    """
    module, _, name = target.partition(":")
    if module.split(".")[0] != "recoup":
        raise ConfigError(f"{target} is not a function of Recoup")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function
