"""Repositories that are to have the keys of another one."""

from collections.abc import Iterable, Iterator, Mapping

from recoup.config import _faults
from recoup.config._faults import Fault
from recoup.config._tree import Node, child
from recoup.config.settings import RepositorySettings

_KEY = "keys_of"


def faults(repositories: Mapping[str, RepositorySettings], found: Node | None) -> Iterator[Fault]:
    """What is wrong with `keys_of`.

    Args:
        repositories: by name.
        found: the node of `repositories`.
    """
    for name, settings in repositories.items():
        node = child(found, name) if found else None
        place = child(node, _KEY) if node else None
        if settings.keys_of is None or place is None:
            continue
        problem, advice = _problem(name, settings.keys_of, repositories)
        if problem:
            yield Fault(place.place, ("repositories", name, _KEY), problem, advice)


def _problem(name: str, other: str, repositories: Mapping[str, RepositorySettings]) -> tuple[str, str]:
    """What is wrong, and what is allowed; empty when nothing is wrong."""
    if other not in repositories:
        known = ", ".join(repositories)
        return f"names {other!r}, which is no repository", f"{_faults.nearest(other, repositories)}There are: {known}."
    if repositories[other].layout != "dedup":
        return f"names {other!r}, which has no keys to share", "Name a repository of `layout: dedup`."
    if name in _before(name, repositories):
        return "leads back to itself", "One of these repositories has to be made with keys of its own."
    return "", ""


def _before(name: str, repositories: Mapping[str, RepositorySettings]) -> list[str]:
    """The repositories whose keys one has, one after the other."""
    found: list[str] = []
    at = repositories[name].keys_of
    while at is not None and at in repositories and at not in found:
        found.append(at)
        at = repositories[at].keys_of
    return found


def in_order(names: Iterable[str], repositories: Mapping[str, RepositorySettings]) -> list[str]:
    """Names of repositories, those that others have the keys of before these."""
    return sorted(names, key=lambda name: len(_before(name, repositories)) if name in repositories else 0)
