"""Sources that build on earlier sets, and repositories where these cost nothing twice."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from recoup.config._faults import Fault
from recoup.config._tree import Node, child
from recoup.config.settings import RepositorySettings

if TYPE_CHECKING:
    from recoup.sources._base import SourceOptions


def faults(
    sources: "Mapping[str, SourceOptions]", repositories: Mapping[str, RepositorySettings], found: Node | None
) -> Iterator[Fault]:
    """Sources that would build on earlier sets where no repository is made for it.

    Args:
        sources: the settings of those that have no mistakes.
        repositories: by name.
        found: the node of `sources`.
    """
    if not repositories or any(one.layout == "dedup" for one in repositories.values()):
        return
    for name, options in sources.items():
        key = options.builds_on_earlier
        source = child(found, name) if found else None
        node = child(source, key) if source and key else None
        if node is not None:
            advice = "Remove it, or add a repository of `layout: dedup`, where what did not change costs nothing."
            yield Fault(node.place, ("sources", name, key), "has no repository of `layout: dedup`", advice)
