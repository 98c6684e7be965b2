"""What a person should know of keyed repositories: sources that yield nothing that gets a key."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from recoup.config.settings import Settings

if TYPE_CHECKING:
    from recoup.repository.keyed.template import Template
    from recoup.sources._base import SourceOptions


def remarks(settings: Settings, sources: "Mapping[str, SourceOptions]") -> Iterator[str]:
    """A sentence for each Qdrant server whose collections will not be a file each, though a template waits for such files."""
    waiting = [name for name, repository in settings.repositories.items() if _waits(repository.template)]
    for name, options in sources.items():
        method = getattr(options, "method", "collection")
        if waiting and options.kind == "qdrant" and method != "collection":
            yield (
                f"source {name} has `method: {method}`, which takes shards: nothing of it gets a key in "
                f"{' and '.join(waiting)}; set `method: collection`"
            )


def _waits(template: "Template | None") -> bool:
    return template is not None and template.extension == ".snapshot"
