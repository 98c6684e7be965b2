"""What a start of the command spares."""

import os
import sys
from types import ModuleType
from typing import Any

_LOADER = "pydantic.plugin._loader"


def spare_plugins_of_pydantic() -> None:
    """Lets pydantic use no plugins, and not even load what would look for them in everything that is installed: that takes
    as long as reading the configuration. Somebody who sets `PYDANTIC_DISABLE_PLUGINS` otherwise keeps what pydantic does.
    """
    if os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__") == "__all__":
        sys.modules.setdefault(_LOADER, _NoPlugins(_LOADER))


class _NoPlugins(ModuleType):
    """Stands for pydantic's module, and gives way to it when it is asked for more than its plugins."""

    def get_plugins(self) -> tuple[()]:
        """None."""
        return ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(_LOADER) is self:
            del sys.modules[_LOADER]
        from pydantic.plugin import _loader

        return getattr(_loader, name)
