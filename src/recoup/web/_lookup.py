"""Which set a URL means: names from outside are compared with those that there are, and lead nowhere else."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from recoup.errors import NoSuchSetError
from recoup.model.manifest import Manifest
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.operations.nearest import left_out

if TYPE_CHECKING:
    from recoup.model.reports import SetInfo
    from recoup.web._glances import Glance
    from recoup.web._site import Site


class Looked(Struct):
    """A set, and the sets around it.

    Attributes:
        info: the set.
        infos: all sets of all repositories, the newest first.
        unread: repositories that could not be read, with the reasons.
    """

    info: "SetInfo"
    infos: "tuple[SetInfo, ...]"
    unread: tuple[str, ...] = ()

    @property
    def here(self) -> "tuple[SetInfo, ...]":
        """The sets of its repository, the newest first."""
        return tuple(one for one in self.infos if one.repository == self.info.repository)

    @property
    def copies(self) -> "tuple[SetInfo, ...]":
        """The copies of the same cut in other repositories."""
        return tuple(one for one in self.infos if one is not self.info and _is_cut(one, self.info.manifest))

    @property
    def comparable(self) -> "tuple[SetInfo, ...]":
        """The other sets of its stack in its repository, the newest first; none where its manifest cannot be read."""
        own = self.info.manifest
        if own is None:
            return ()
        others = (one for one in self.here if one.manifest and one is not self.info)
        return tuple(one for one in others if one.manifest and one.manifest.stack == own.stack)

    @property
    def before(self) -> "SetInfo | None":
        """The set before it, of those that it can be compared with: if there is one, of the same sources."""
        older = [one for one in self.comparable if one.name_key < self.info.name_key]
        same = (one for one in older if _requested(one) == _requested(self.info))
        return next(same, older[0] if older else None)


def seen(glance: "Glance", repository: str, name: str) -> Looked:
    """The set of a name in a repository, for who only looks.

    Args:
        glance: the stack as it was a moment ago.
        repository: its name, as in a URL.
        name: the set's, whole.

    Raises:
        NoSuchSetError: there is none.
    """
    found = (info for state in glance.look.states for info in state.infos)
    infos = tuple(sorted(found, key=lambda info: info.name_key, reverse=True))
    failures = {state.repository: state.failure for state in glance.look.states if state.failure}
    return Looked(chosen(infos, repository, name), infos, tuple(left_out(failures)))


def looked_up(site: "Site", repository: str, name: str) -> Looked:
    """The set of a name in a repository as it is now, for who does something with it.

    Args:
        site: what the pages stand on.
        repository: its name, as in a URL.
        name: the set's, whole.

    Raises:
        NoSuchSetError: there is none.
    """
    infos = tuple(site.sets())
    return Looked(chosen(infos, repository, name), infos)


def chosen(infos: "Sequence[SetInfo]", repository: str, name: str) -> "SetInfo":
    """The set of a name in a repository.

    Args:
        infos: those there are.
        repository: its name, as in a URL.
        name: the set's, whole.

    Raises:
        NoSuchSetError: there is none.
    """
    for info in infos:
        if (info.repository, info.name) == (repository, name):
            return info
    raise NoSuchSetError(
        f"there is no set {shown(name)} in {shown(repository)}",
        "It may have been deleted, or its repository cannot be read now: the list of sets says which there are.",
    )


def _is_cut(info: "SetInfo", manifest: Manifest | None) -> bool:
    return manifest is not None and info.manifest is not None and info.manifest.id == manifest.id


def _requested(info: "SetInfo") -> tuple[str, ...]:
    return info.manifest.requested if info.manifest else ()
