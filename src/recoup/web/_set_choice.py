"""Choosing one repository of a stack: for a stack of one's own, and on a command line."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recoup.app import Stack
    from recoup.web._site import Site


def chosen_stack(site: "Site", repository: str) -> "Stack":
    """A stack of one's own, with one repository chosen; the configuration is not read anew.

    Args:
        site: what the pages stand on.
        repository: its name, which was looked up.
    """
    with site.reading() as stack:
        return stack.only(repository)


def where(stack: "Stack", repository: str) -> list[str]:
    """The option that chooses a repository, where there are several.

    Args:
        stack: the stack.
        repository: its name, which was looked up.
    """
    return ["-r", repository] if stack.has_several else []
