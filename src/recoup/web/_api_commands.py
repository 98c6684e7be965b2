"""The command lines that do what is asked for by REST, made of names that were looked up."""

from typing import TYPE_CHECKING

from recoup.errors import NoSuchSetError, UsageError
from recoup.model import figures
from recoup.model.names import shown
from recoup.web._api_bodies import Backup, Copy, Delete, Drill, Prune, Undelete, Verify

if TYPE_CHECKING:
    from recoup.app import Stack


def backup(stack: "Stack", body: Backup) -> list[str]:
    """The command line of a backup.

    Raises:
        UsageError: a name is not configured.
    """
    found = ["backup", *_sources(stack.source_names, body.sources), *_tags(body.tags)]
    found += [f"--note={body.note}"] if body.note else []
    found += [f"--to={','.join(places(stack, body.to))}"] if body.to else []
    return [*found, *({None: [], True: ["--prune"], False: ["--no-prune"]}[body.prune])]


def verify(stack: "Stack", body: Verify) -> list[str]:
    """The command line of a verification.

    Raises:
        UsageError: a name is not there.
    """
    one, here = named(stack, body.repository, body.set)
    part = [f"--read-data-subset={body.read_data_subset}"] if body.read_data_subset != "100%" else []
    return ["verify", *one, *part, *(["--structure-only"] if body.structure_only else []), *here]


def drill(stack: "Stack", body: Drill) -> list[str]:
    """The command line of a drill.

    Raises:
        UsageError: a name is not there, or `full` and a choice contradict each other.
    """
    if body.full and (body.set or body.sources):
        raise UsageError("a full drill is everything: no set and no sources go with it", "Leave them out.")
    one, here = named(stack, body.repository, body.set)
    holder = stack.show(one[0]) if one else stack.show("latest-complete") if body.sources else None
    known = tuple(holder.manifest.sources) if holder and holder.manifest else ()
    return ["drill", *one, *_sources(known, body.sources), *(["--full"] if body.full else []), *here]


def prune(stack: "Stack", body: Prune) -> list[str]:
    """The command line of a prune.

    Raises:
        UsageError: a name is not there.
    """
    chosen, here = placed(stack, body.repository)
    known = {name for info in chosen.sets() if info.manifest for name in info.manifest.requested}
    found = ["prune", *_tags(body.tags), *_sources((*stack.source_names, *known), body.sources)]
    return [*found, *([f"--free={body.free}"] if wanted_bytes(body) else []), *here]


def wanted_bytes(body: Prune) -> int:
    """How many bytes a prune is asked to free at once; 0 for one by the rules alone.

    Raises:
        UsageError: it is no size.
    """
    return 0 if body.free is None else figures.bytes_of(body.free, "free")


def copy(stack: "Stack", body: Copy) -> list[str]:
    """The command line of a copy.

    Raises:
        UsageError: a name is not there.
    """
    to = places(stack, (body.to,))[0]
    origin = places(stack, (body.origin,)) if body.origin else []
    left = stack.only(origin[0]) if origin else stack
    sets = [left.show(text).name for text in body.sets or ()]
    return ["copy", *sets, "--to", to, *(["--from", origin[0]] if origin else [])]


def delete(stack: "Stack", body: Delete) -> list[str]:
    """The command line of a deletion.

    Raises:
        UsageError: a set is not there under its whole name.
    """
    chosen, here = placed(stack, body.repository)
    known = {info.name for info in chosen.sets()}
    for name in body.sets:
        if name not in known:
            raise UsageError(f"there is no set {shown(name)}", "A deletion wants whole names.")
    return ["delete", *dict.fromkeys(body.sets), *(["--force"] if body.force else []), *here]


def undelete(stack: "Stack", body: Undelete) -> list[str]:
    """The command line that takes a set out of the trash.

    Raises:
        NoSuchSetError: it is not there.
    """
    if body.set not in stack.trashed().get(body.repository, ()):
        raise NoSuchSetError(
            f"{shown(body.set)} is not in the trash of {shown(body.repository)}", "Perhaps it was emptied since."
        )
    return ["undelete", body.set, "-r", body.repository]


def named(stack: "Stack", repository: str | None, text: str | None) -> tuple[list[str], list[str]]:
    """The set that a text means, as an argument, and the option that chooses the repository.

    Raises:
        UsageError: there is none.
    """
    chosen, here = placed(stack, repository)
    return ([] if text is None else [chosen.show(text).name]), here


def placed(stack: "Stack", repository: str | None) -> "tuple[Stack, list[str]]":
    """The stack with a repository chosen, and the option that does so; the stack itself where none is named.

    Raises:
        UsageError: it is not configured.
    """
    if repository is None:
        return stack, []
    (name,) = places(stack, (repository,))
    return stack.only(name), ["-r", name]


def places(stack: "Stack", names: tuple[str, ...]) -> list[str]:
    """Names of repositories, each of which is configured.

    Raises:
        UsageError: one is not.
    """
    return _known("repository", stack.chosen_repositories, names)


def _sources(known: tuple[str, ...], names: tuple[str, ...] | None) -> list[str]:
    return [f"--source={','.join(_known('source', known, names))}"] if names else []


def _known(what: str, known: tuple[str, ...], names: tuple[str, ...]) -> list[str]:
    for name in names:
        if name not in known:
            raise UsageError(f"there is no {what} {shown(name)}", f"Known: {', '.join(known) or 'none'}.")
    return list(dict.fromkeys(names))


def _tags(tags: dict[str, str]) -> list[str]:
    return [f"--tag={key}={value}" for key, value in tags.items()]
