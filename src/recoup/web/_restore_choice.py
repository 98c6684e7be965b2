"""What a person has chosen in the restore wizard: read from an address or a form, and checked against what there is."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from recoup.errors import NoSuchSetError, UsageError
from recoup.model.names import SetName, shown
from recoup.model.structs import Struct
from recoup.operations import restore, selection
from recoup.web._plug_forms import controls

if TYPE_CHECKING:
    from recoup.app import Stack
    from recoup.model.reports import SetInfo

LATEST = "latest"
"""The newest good copy of each source."""

Where = Literal["files", "place"]
"""Into a new folder as files, or where each source lives."""

_OPTION = "option."


class Choice(Struct):
    """What was chosen; nothing in it is believed.

    Attributes:
        set: name of a set, or `LATEST`.
        sources: their names; none where nothing was chosen yet.
        where: see `Where`.
        options: source to the options of its plug, as texts.
    """

    set: str
    sources: tuple[str, ...]
    where: Where
    options: Mapping[str, Mapping[str, str]]

    @classmethod
    def of(cls, fields: Iterable[tuple[str, str]]) -> "Choice":
        """Reads it from the fields of an address or a form.

        Args:
            fields: names and values; an option is `option.SOURCE.KEY`, and an empty one counts for none.
        """
        given = list(fields)
        single = dict(given)
        options: dict[str, dict[str, str]] = {}
        for name, value in given:
            source, dot, key = name.removeprefix(_OPTION).partition(".")
            if name.startswith(_OPTION) and dot and value.strip():
                options.setdefault(source, {})[key] = value.strip()
        return cls(
            set=single.get("set", "").strip() or LATEST,
            sources=tuple(dict.fromkeys(value for name, value in given if name == "source")),
            where="place" if single.get("where") == "place" else "files",
            options=options,
        )

    @property
    def fields(self) -> list[tuple[str, str]]:
        """Names and values that `of` reads again."""
        return [
            ("set", self.set),
            *(("source", name) for name in self.sources),
            ("where", self.where),
            *((f"{_OPTION}{name}.{key}", value) for name, own in self.options.items() for key, value in own.items()),
        ]


class Offer(Struct):
    """A source that can be chosen, or why it cannot.

    Attributes:
        source: its name.
        kind: its plug; empty where no set says it.
        info: the set that it would come from; None where no set holds it.
        bytes: how much it is.
        refused: why it cannot be restored; empty when it can.
    """

    source: str
    kind: str
    info: "SetInfo | None"
    bytes: int = 0
    refused: str = ""


def offers(stack: "Stack", infos: "Sequence[SetInfo]", text: str) -> tuple[Offer, ...]:
    """The sources of a set, or of the stack.

    Args:
        stack: the stack.
        infos: all sets, those of nearer repositories first.
        text: name of a set, or `LATEST`.

    Raises:
        NoSuchSetError: there is no such set, or it cannot be read.
    """
    if text != LATEST:
        info = _named(infos, text)
        return tuple(_offer(name, info) for name in (info.manifest.sources if info.manifest else ()))
    own = own_sets(stack, infos)
    wanted = selection.sources_of(own, stack.source_names)
    held = selection.holdings(own, wanted)
    return tuple(_offer(name, held.get(name)) for name in wanted)


def own_sets(stack: "Stack", infos: "Sequence[SetInfo]") -> "list[SetInfo]":
    """The sets of this stack that can be read; others may share a repository with it."""
    name = stack.settings.stack if stack.files else ""
    return [info for info in infos if info.manifest and (not name or info.manifest.stack == name)]


def _named(infos: "Sequence[SetInfo]", text: str) -> "SetInfo":
    for info in infos:
        if info.name == text and info.manifest and SetName.parse(text):
            return info
    raise NoSuchSetError(f"there is no set {shown(text)} that can be read", "Choose one of the list.")


def _offer(source: str, info: "SetInfo | None") -> Offer:
    if info is None or info.manifest is None:
        return Offer(source, "", None, refused="no set holds a good copy of it")
    record = info.manifest.sources[source]
    reason = restore.reason_to_skip(info.manifest, source)
    return Offer(source, record.kind, info, record.bytes, reason)


class Order(Struct):
    """A choice that was compared with what there is.

    Attributes:
        choice: what was chosen.
        offers: what there was to choose from.
    """

    choice: Choice
    offers: tuple[Offer, ...]

    @property
    def chosen(self) -> tuple[Offer, ...]:
        """The chosen sources."""
        return tuple(offer for offer in self.offers if offer.source in self.choice.sources)

    @property
    def set(self) -> str:
        """The one set that all of it comes from; `LATEST` where there are several."""
        names = {offer.info.name for offer in self.chosen if offer.info}
        return names.pop() if len(names) == 1 else LATEST

    @property
    def newest(self) -> str:
        """Name of the newest set that something comes from."""
        return max((offer.info for offer in self.chosen if offer.info), key=lambda info: info.name_key).name

    @property
    def sources(self) -> list[str] | None:
        """The names to ask for; None where that is all that there is, so that one need not name them."""
        names = [offer.source for offer in self.chosen]
        return None if {*names} == self._all else names

    @property
    def _all(self) -> "frozenset[str]":
        """What the verb would take where no source is named."""
        if self.set == LATEST:
            return frozenset(offer.source for offer in self.offers)
        return frozenset(
            name for offer in self.chosen if offer.info and offer.info.manifest for name in offer.info.manifest.sources
        )

    @property
    def options(self) -> dict[str, dict[str, str]]:
        """The options that are said and are not the plug's own default, where they mean something: in place."""
        if self.choice.where != "place":
            return {}
        found = {offer.source: self._options_of(offer) for offer in self.chosen}
        return {source: own for source, own in found.items() if own}

    def _options_of(self, offer: Offer) -> dict[str, str]:
        said = self.choice.options.get(offer.source, {})
        return {
            control.key: said[control.key]
            for control in controls(offer.kind)
            if control.key in said and said[control.key] != control.default
        }

    def require_sources(self) -> None:
        """Demands that something was chosen that can be restored.

        Raises:
            UsageError: it was not.
        """
        known = {offer.source: offer for offer in self.offers}
        for name in self.choice.sources:
            if name not in known:
                raise UsageError(f"{self.choice.set} has no source {shown(name)}", f"It has: {', '.join(known)}.")
            if known[name].refused:
                raise UsageError(
                    f"{name} cannot be restored: {known[name].refused}", "Choose another set, or leave it out."
                )
        if not self.choice.sources:
            raise UsageError("no source is chosen", "Choose at least one.")

    def require_options(self) -> None:
        """Demands that every option that was said is one of its plug.

        Raises:
            UsageError: one is not.
        """
        for offer in self.chosen:
            known = [control.key for control in controls(offer.kind)]
            for key in self.choice.options.get(offer.source, {}):
                if key not in known:
                    raise UsageError(
                        f"a restore of {offer.source} has no option {shown(key)}",
                        f"It has: {', '.join(known) or 'none'}.",
                    )

    def planned(self, stack: "Stack", folder: Path | None) -> restore.Plan:
        """What it would do now; changes nothing.

        Args:
            stack: the stack.
            folder: a new one, for files; None in place.

        Raises:
            RecoupError: it cannot be done.
        """
        target = None if folder is None else str(folder)
        return stack.plan_restore(self.set, self.sources, target=target, in_place=folder is None, options=self.options)

    def arguments(self, folder: Path | None) -> list[str]:
        """The verb and its arguments that do the same.

        Args:
            folder: a new one, for files; None in place.
        """
        named = ["--source", ",".join(self.sources)] if self.sources else []
        where = ["--in-place"] if folder is None else ["--target", str(folder)]
        pairs = ((source, key, value) for source, own in self.options.items() for key, value in own.items())
        return ["restore", self.set, *named, *where, *(f"--option={s}.{k}={v}" for s, k, v in pairs)]


def fresh_folder(below: Path, name: str) -> Path:
    """A folder for files that is not there yet.

    Args:
        below: the folder in which restored ones are.
        name: of the set.
    """
    number, path = 1, below / f"restored_{name}"
    while path.is_symlink() or path.exists():
        number += 1
        path = below / f"restored_{name}_{number}"
    return path


def seen(plan: restore.Plan) -> str:
    """What a person has seen of a plan, in 16 hex digits: which copies go where, and what becomes of what is there.

    How large something is that is in use may change between two looks, so it does not count.
    """
    rows = [
        (row.source, row.set, row.repository, row.mode, row.target, bool(row.present), row.consequence)
        for row in plan.rows
    ]
    data = json.dumps([rows, sorted(plan.skipped), list(plan.lost)])
    return hashlib.sha256(data.encode(errors="surrogatepass")).hexdigest()[:16]
