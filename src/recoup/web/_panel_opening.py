"""What a panel works on: a stack, opened as its jobs will open it, and those jobs."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from recoup.model.structs import Struct
from recoup.web.jobs import Jobs

if TYPE_CHECKING:
    from recoup.app import Stack
    from recoup.model.reports import SetInfo
    from recoup.system.clock import Clock


class Panel(Struct):
    """One panel's stack.

    Attributes:
        stack: opened anew, for this panel alone: it may be read in several threads of an application at a time.
        jobs: what runs for it.
        clock: time.
    """

    stack: "Stack"
    jobs: Jobs
    clock: "Clock"

    def sets(self) -> "list[SetInfo]":
        """The stack's sets, the newest first, each copy of them.

        Raises:
            RecoupError: no repository can be read.
        """
        own = self.stack.remembered_as
        found = [i for i in self.stack.sets() if not own or i.manifest is None or i.manifest.stack == own]
        return sorted(found, key=lambda info: info.name_key, reverse=True)

    def holder(self, info: "SetInfo") -> "Stack":
        """The stack with the repository chosen that has a copy."""
        return self.stack.only(info.repository) if self.stack.has_several else self.stack


def opened(stack: "Stack | str | os.PathLike[str]", clock: "Clock") -> Panel:
    """A panel's stack.

    Args:
        stack: a stack, or the path of its configuration. Of a stack it is taken which files, overrides and repository it was
            opened with; jobs read them with the environment of this process, and so does the panel.
        clock: time.

    Raises:
        RecoupError: the configuration is wrong, or a job could not be told how to open this stack.
    """
    own = _by_path(Path(stack), clock) if isinstance(stack, str | os.PathLike) else stack.read_again()
    return Panel(own, Jobs(own.settings.stack, own.as_options, clock), clock)


def _by_path(config: Path, clock: "Clock") -> "Stack":
    from recoup.app import open_stack

    return open_stack([config.absolute()], clock=clock)
