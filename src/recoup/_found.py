"""Which set a person means, in which repository: by name or time, the nearest copy, what is held of each source."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from recoup._watched import WatchedStack
from recoup.errors import (
    NoSuchSetError,
    RecoupError,
    RefusedError,
    UsageError,
    WrongKeyError,
)
from recoup.model.names import SetName
from recoup.system.clock import local_zone_name

if TYPE_CHECKING:
    from recoup.model.manifest import Manifest
    from recoup.model.reports import (
        SetInfo,
    )


class StackWithSets(WatchedStack):
    """A configured stack that knows its sets."""

    _whole: "dict[tuple[str, str], Manifest]"

    def sets(
        self,
        tags: Mapping[str, str] | None = None,
        sources: Sequence[str] = (),
        since: str | None = None,
        until: str | None = None,
    ) -> "list[SetInfo]":
        """The sets, oldest first; those of several repositories each by itself. What could not be read is in `unread`.

        Args:
            tags: only those that have all of these tags.
            sources: only those that hold all of these sources.
            since: only those begun at or after this time.
            until: only those begun at or before this time.
        """
        from recoup.operations import nearest, selection

        now, zone = self._clock.now(), local_zone_name()
        filters = selection.Filter(
            tags=dict(tags or {}),
            sources=tuple(sources),
            since=None if since is None else selection.begin_of(since, now, zone),
            until=None if until is None else selection.end_of(until, now, zone),
        )
        self._whole = {}
        infos, failures = nearest.looked_into({name: self._reader(name) for name in self._nearest}, now)
        self.unread = tuple(nearest.left_out(failures))
        return selection.matching(infos, filters)

    def _own_sets(self) -> "list[SetInfo]":
        """The sets of this stack, oldest first; of all stacks where there is no configuration.

        Two stacks may share a repository, and `latest` must not mix them.
        """
        stack = self.settings.stack if self._loaded.files else ""
        return [info for info in self.sets() if not stack or info.manifest is None or info.manifest.stack == stack]

    def _copies(self, text: str, sources: Sequence[str] | None = None) -> "list[SetInfo]":
        """The set that a person means: its copies that can be read, the nearest first."""
        from recoup.operations import nearest, selection

        now, zone = self._clock.now(), local_zone_name()
        with self._telling_of_keys():
            infos = nearest.readable(self._own_sets() if SetName.parse(text) is None else self.sets())
            found = selection.resolve(text, infos, now, sources=sources, zone=zone)
        return nearest.copies(found, infos, self._nearest)

    def _resolve(self, text: str, sources: Sequence[str] | None = None) -> "SetInfo":
        return self._copies(text, sources)[0]

    def _named(self, text: str) -> SetName:
        return self._parsed(self._resolve(text).name)

    def _parsed(self, found: str) -> SetName:
        name = SetName.parse(found)
        if name is None:
            raise NoSuchSetError(f"{found} is not the name of a set")
        return name

    def _everywhere(self, text: str) -> "list[SetInfo]":
        """All copies of a set, and what lies under its name and cannot be read."""
        chosen = self._copies(text)
        return [
            info for info in self.sets() if info in chosen or (info.manifest is None and info.name == chosen[0].name)
        ]

    @contextlib.contextmanager
    def _telling_of_keys(self) -> Iterator[None]:
        """Where no set answers, and one could only not be opened, that is what is told."""
        try:
            yield
        except NoSuchSetError:
            for name in dict.fromkeys(info.name for info in reversed(self.sets()) if info.manifest is None):
                self.demand_key(name)
            raise

    def demand_key(self, text: str) -> None:
        """Demands that a set's manifest can be opened, if it is encrypted; other faults of it are not looked at.

        Raises:
            WrongKeyError: what is configured does not open it.
        """
        name = SetName.parse(text)
        for place in self._nearest:
            try:
                if name is not None:
                    self._at(place).manifest(name)
            except WrongKeyError as error:
                raise WrongKeyError(f"{name}: {error.message}", error.hint) from None
            except (RecoupError, OSError):
                continue

    def _manifest(self, info: "SetInfo") -> "Manifest":
        """The manifest itself: what a listing has may be a copy."""
        name = SetName.parse(info.name)
        if info.manifest is None or name is None:
            self.demand_key(info.name)
            raise RefusedError(f"{info.name} cannot be read: {info.problem}", "Choose another set.")
        return self._at(info.repository).manifest(name)

    def _whole_manifest(self, info: "SetInfo") -> "Manifest":
        """With what is encrypted of it: so a wrong key is told before anything begins. Read once for each look at the sets."""
        key = info.repository, info.name
        if key not in self._whole:
            self._whole[key] = self._at(info.repository).whole(self._manifest(info))
        return self._whole[key]

    def _whole_copy(self, copies: "Sequence[SetInfo]") -> "tuple[Manifest, SetInfo, list[SetInfo]]":
        """The nearest copy that can be opened: its manifest, where it is, and the copies behind it.

        Raises:
            RecoupError: none can be; the last one's reason.
        """
        for index, info in enumerate(copies):
            try:
                return self._whole_manifest(info), info, list(copies[index + 1 :])
            except RecoupError as error:
                if index + 1 == len(copies):
                    raise
                self.unread = (*self.unread, f"{info.name} in {info.repository} cannot be opened: {error}")
        raise NoSuchSetError("there is no copy of this set")

    def _holdings(self, text: str, sources: list[str] | None) -> "dict[str, tuple[Manifest, list[SetInfo]]]":
        """Source name to the manifest that it is restored from, and the copies of that set, the nearest first."""
        from recoup.operations import nearest, selection

        if text == "latest":
            infos = self._own_sets()
            wanted = sources or selection.sources_of(infos, self._loaded.sources)
            held = selection.holdings(infos, wanted)
            missing = [name for name in wanted if name not in held]
            if not held or (sources and missing):
                with self._telling_of_keys():
                    raise NoSuchSetError(
                        f"no set holds a good copy of {', '.join(missing) or 'anything'}",
                        "`recoup list` shows what there is.",
                    )
            told = {name: info for info in infos if info.manifest for name in info.manifest.sources}
            newest = next(iter(held.values()))
            chosen = {name: held.get(name) or told.get(name, newest) for name in wanted}
            found = {name: nearest.copies(info, infos, self._nearest) for name, info in chosen.items()}
        else:
            copies = self._copies(text, sources)
            manifest = self._manifest(copies[0])
            self._demand_known(sources, manifest)
            found = dict.fromkeys(sources or manifest.sources, copies)
        return {name: self._held(name, copies) for name, copies in found.items()}

    def _held(self, source: str, copies: "Sequence[SetInfo]") -> "tuple[Manifest, list[SetInfo]]":
        from recoup.operations import nearest

        manifest, info, others = self._whole_copy(nearest.holding(copies, source))
        return manifest, [info, *others]

    def _demand_known(self, sources: Sequence[str] | None, manifest: "Manifest") -> None:
        for name in sources or ():
            if name not in manifest.sources:
                has = ", ".join(manifest.sources)
                raise UsageError(f"{manifest.name} has no source {name}", f"It has: {has}.")
