"""What a restore to a server will do, decided before anything is touched: pure, from the set's records and a look at the server.

Names are resolved first, because Qdrant lets whoever uploads to an alias overwrite the collection behind it. The rule for
versions is Qdrant's own: a snapshot goes into the minor version that made it, or into the next.
"""

from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime
from typing import Any, Literal, cast

from recoup.errors import RefusedError, RestoreError, UsageError
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.sources.qdrant._record import CollectionRecord, ShardKey
from recoup.sources.qdrant._restore_options import RestoreOptions

Way = Literal["create", "alias", "replace", "new", "merge"]
"""How it takes its place; `create`: nothing was there."""

_MARK = "__restore_"
_LONGEST_NAME = 255  # bytes, Qdrant's own limit of a collection's name
GAP = "__recoup_gap_"
"""How the shard keys begin that only use up shard numbers, and go again before points come."""


class Standing(Struct):
    """What a server has, as far as a restore has to know.

    Attributes:
        version: its version, e.g. `1.18.3`.
        collections: name to `config`, as the server tells it.
        aliases: alias to the collection that it leads to.
    """

    version: str
    collections: Mapping[str, Mapping[str, Any]]
    aliases: Mapping[str, str]

    def resolved(self, name: str) -> str | None:
        """The collection that answers to a name, its own or an alias; None when none does."""
        return name if name in self.collections else self.aliases.get(name)

    def with_collection(self, name: str, config: Mapping[str, Any]) -> "Standing":
        """The same with one collection more."""
        return replace(
            self, collections=ChainMap({name: config}, cast("dict[str, Mapping[str, Any]]", self.collections))
        )

    def leading_to(self, collection: str) -> tuple[str, ...]:
        """The aliases of a collection, sorted."""
        return tuple(sorted(alias for alias, name in self.aliases.items() if name == collection))


class KeyStep(Struct):
    """One shard key to create, in order.

    Attributes:
        key: its name.
        shards: how many shards it has.
        filler: True when it is only made to use up numbers, and deleted again.
    """

    key: ShardKey
    shards: int
    filler: bool = False


class Undertaking(Struct):
    """What happens to one collection.

    Attributes:
        record: as it was captured.
        name: the name that was asked for.
        into: the collection that the points go into; made anew but for `merge`.
        way: see `Way`.
        old: the collection that answered to `name` before; None when none did.
        aliases: aliases that lead to `into` at the end, by the one switch.
        left: aliases of the set that stay as they are, with what they lead to.
        points: True when points go in one by one instead of whole shards.
        keys: shard keys to create first, in this order.
        remarks: what a person should know, a sentence each.
    """

    record: CollectionRecord
    name: str
    into: str
    way: Way
    old: str | None = None
    aliases: tuple[str, ...] = ()
    left: Mapping[str, str] = field(default_factory=dict)
    points: bool = False
    keys: tuple[KeyStep, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def is_new(self) -> bool:
        """True when `into` is made by this restore."""
        return self.way != "merge"

    @property
    def steps(self) -> tuple[str, ...]:
        """What will be done, a sentence each, for people."""
        return tuple(_steps(self))


def chosen(records: Iterable[CollectionRecord], options: RestoreOptions) -> list[CollectionRecord]:
    """The collections that were asked for.

    Raises:
        UsageError: one that was asked for is not in the set, or two would get the same name.
    """
    held = {record.name: record for record in records}
    for name in (*options.collections, *options.rename):
        if name not in held:
            known = ", ".join(map(shown, held)) or "none"
            raise UsageError(f"the set has no collection {shown(name)}", f"It has: {known}.")
    found = [record for name, record in held.items() if not options.collections or name in options.collections]
    names = [options.rename.get(record.name, record.name) for record in found]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(
                f"two collections would be restored as {shown(name)}", "Give one of them another --rename."
            )
    return found


def undertaking(record: CollectionRecord, options: RestoreOptions, standing: Standing, now: datetime) -> Undertaking:
    """Decides what happens to one collection.

    Raises:
        RefusedError: its snapshots do not go into a server of this version.
        RestoreError: the mode does not fit what is there.
    """
    name = options.rename.get(record.name, record.name)
    old = standing.resolved(name)
    way = _way(name, old, record, options, standing)
    points, keys, remarks = _transport(record, way, options, standing.version)
    into = _into(name, old, way, standing, now)
    aliases, left = _aliases(name, old, way, record, options, standing)
    if way == "merge" and old is not None:
        _demand_same_vectors(record, old, standing.collections.get(old, {}))
    elif old is not None:
        remarks += _differences(record, old, standing.collections.get(old, {}))
    return Undertaking(record, name, into, way, old, aliases, left, points, keys, remarks)


def _way(name: str, old: str | None, record: CollectionRecord, options: RestoreOptions, standing: Standing) -> Way:
    if options.mode == "new":
        return "new"
    if old is None:
        return "create"
    led = bool(standing.leading_to(old))
    if options.mode == "auto":
        return "alias" if led else "replace"
    if options.mode == "replace" and name in standing.aliases:
        raise RestoreError(
            f"{shown(name)} is an alias of {shown(old)}: there is nothing to replace",
            "Use --mode alias, which moves it.",
        )
    if options.mode == "alias" and not led and not set(record.aliases) - set(standing.collections):
        raise RestoreError(
            f"no alias leads to {shown(old)}, and the set has none: a switch would change nothing",
            "Use --mode replace, or --mode new.",
        )
    return options.mode


def _into(name: str, old: str | None, way: Way, standing: Standing, now: datetime) -> str:
    if way == "create":
        return name
    if way == "merge":
        return old or name
    return fresh_name(name, now, {*standing.collections, *standing.aliases})


def fresh_name(name: str, now: datetime, taken: Iterable[str], mark: str = _MARK) -> str:
    """A name that no collection and no alias has: the asked one, and the time (UTC)."""
    tail = f"{mark}{now:%Y%m%d_%H%M%S}"
    stem = name
    while len((stem + tail).encode()) > _LONGEST_NAME - 4:
        stem = stem[:-1]
    candidate, taken = stem + tail, set(taken)
    for number in range(2, 1000):
        if candidate not in taken:
            break
        candidate = f"{stem}{tail}_{number}"
    return candidate


def _aliases(
    name: str, old: str | None, way: Way, record: CollectionRecord, options: RestoreOptions, standing: Standing
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The aliases that lead to the restored collection at the end, and those of the set that do not."""
    if way in ("new", "merge"):
        return (), {}
    wanted = set(standing.leading_to(old)) if old is not None else set()
    if way == "replace":
        wanted.add(name)
    left: dict[str, str] = {}
    for alias in () if options.aliases == "none" else record.aliases:
        leads_to = standing.aliases.get(alias)
        if alias in standing.collections and alias != name:
            left[alias] = alias
        elif leads_to is None or leads_to == old or options.aliases == "all":
            wanted.add(alias)
        else:
            left[alias] = leads_to
    return tuple(sorted(wanted - {name} if way == "create" else wanted)), left


def _transport(
    record: CollectionRecord, way: Way, options: RestoreOptions, version: str
) -> tuple[bool, tuple[KeyStep, ...], tuple[str, ...]]:
    """Whether points go in one by one, the shard keys to create, and why."""
    if options.via == "snapshot" and record.method == "scroll":
        raise UsageError(
            f"the set has the points of {shown(record.name)}, not its snapshots",
            "Leave --via out: its points go in one by one.",
        )
    if options.via == "snapshot" and way == "merge":
        raise UsageError("--mode merge writes points one by one", "Leave --via out.")
    if options.via == "points" or record.method == "scroll" or way == "merge":
        return True, _plain_keys(record), ()
    if problem := version_problem(record.server, version):
        raise RefusedError(
            f"{shown(record.name)}: {problem}",
            "`--via points` writes the points one by one, which works into any version; "
            "so do sets that were captured with `method: scroll`.",
        )
    keys = key_steps(record)
    if isinstance(keys, str):
        if options.via == "snapshot":
            raise RestoreError(f"{shown(record.name)}: {keys}", "`--via points` writes the points one by one.")
        return True, _plain_keys(record), (f"{keys}, so its points go in one by one",)
    return False, keys, ()


def version_problem(made_by: str, present: str) -> str:
    """Why snapshots of one version do not go into a server of another; empty when they do.

    Qdrant's rule: the same minor version, or the next.
    """
    made, there = _minor(made_by), _minor(present)
    if made is None:
        return f"it is not known which version of Qdrant made its snapshots ({made_by or 'nothing recorded'})"
    if there is None:
        return f"the version of the server is not known ({present or 'it tells none'})"
    if made[0] == there[0] and there[1] - made[1] in (0, 1):
        return ""
    return f"its snapshots were made by Qdrant {made_by} and do not go into {present} (the same minor version, or one newer)"


def _minor(version: str) -> tuple[int, int] | None:
    parts = version.removeprefix("v").split(".")
    try:
        return int(parts[0]), int(parts[1])
    except (ValueError, IndexError):
        return None


def is_custom(config: Mapping[str, Any]) -> bool:
    """Whether a collection's configuration says that its shards have keys."""
    return (config.get("params") or {}).get("sharding_method") == "custom"


def key_steps(record: CollectionRecord) -> tuple[KeyStep, ...] | str:
    """The shard keys to create, so that every shard gets the number it had; or why that cannot be.

    Qdrant numbers shards in the order of creation: with keys from the highest present number plus one (the first is 1), without
    keys from 0. Points are routed by these numbers, so another numbering makes duplicates at the next upsert.
    """
    ids = sorted(shard.id for shard in record.shards)
    if not is_custom(record.config):
        if ids == list(range(len(ids))):
            return ()
        return f"its shards are numbered {_listed(ids)}, and a new collection's are not"
    steps: list[KeyStep] = []
    following = 1
    for key, run in _runs(record):
        if any(step.key == key and type(step.key) is type(key) for step in steps):
            return f"the shards of key {key!r} are not numbered one after another"
        if run[0] > following:
            steps.append(KeyStep(f"{GAP}{following}", run[0] - following, filler=True))
        elif run[0] < following:
            return f"its shards are numbered {_listed(ids)}, and a new collection's are not"
        steps.append(KeyStep(key, len(run)))
        following = run[-1] + 1
    return tuple(steps)


def _runs(record: CollectionRecord) -> list[tuple[ShardKey, list[int]]]:
    """Neighbouring shards of one key, numbers without a gap, in order."""
    runs: list[tuple[ShardKey, list[int]]] = []
    for shard in sorted(record.shards, key=lambda shard: shard.id):
        key = shard.key if shard.key is not None else ""
        if runs and _same(runs[-1][0], key) and runs[-1][1][-1] + 1 == shard.id:
            runs[-1][1].append(shard.id)
        else:
            runs.append((key, [shard.id]))
    return runs


def _same(left: ShardKey, right: ShardKey) -> bool:
    return left == right and type(left) is type(right)


def _plain_keys(record: CollectionRecord) -> tuple[KeyStep, ...]:
    """The keys as they were, with as many shards each; their numbers do not matter when points go in one by one."""
    if not is_custom(record.config):
        return ()
    found: dict[tuple[type, ShardKey], int] = {}
    for key in record.shard_keys:
        found.setdefault((type(key), key), 0)
    for shard in record.shards:
        if shard.key is not None:
            found[type(shard.key), shard.key] = found.get((type(shard.key), shard.key), 0) + 1
    usual = (record.config.get("params") or {}).get("shard_number") or 1
    return tuple(KeyStep(key, count or usual) for (_, key), count in found.items())


def _listed(ids: Sequence[int]) -> str:
    text = ", ".join(map(str, ids[:8]))
    return text + (", ..." if len(ids) > 8 else "")


# --- vectors ------------------------------------------------------------------------------------------------------------


def vectors_of(config: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Name of each vector (empty for the unnamed one) to what has to agree: size, distance, multivector; or `sparse`."""
    params = config.get("params") or {}
    dense = params.get("vectors") or {}
    named = {"": dense} if "size" in dense else dense
    found: dict[str, tuple[Any, ...]] = {
        name: (one.get("size"), one.get("distance"), bool(one.get("multivector_config"))) for name, one in named.items()
    }
    return found | dict.fromkeys(params.get("sparse_vectors") or {}, ("sparse",))


def _demand_same_vectors(record: CollectionRecord, old: str, config: Mapping[str, Any]) -> None:
    present = vectors_of(config)
    for name, kind in vectors_of(record.config).items():
        if present.get(name) != kind:
            raise RestoreError(
                f"the points of {shown(record.name)} do not fit into {shown(old)}: the vector {_vector(name)} is "
                f"{_kind(kind)} in the set and {_kind(present.get(name))} there",
                "Restore it beside with --mode new.",
            )


def _differences(record: CollectionRecord, old: str, config: Mapping[str, Any]) -> tuple[str, ...]:
    remarks = []
    recorded, present = vectors_of(record.config), vectors_of(config)
    if config and recorded != present:
        names = sorted(name for name in {*recorded, *present} if recorded.get(name) != present.get(name))
        remarks += [
            f"the vector {_vector(name)} is {_kind(recorded.get(name))} in the set and {_kind(present.get(name))} in {shown(old)}"
            for name in names
        ]
    shards, there = (c.get("params", {}).get("shard_number") for c in (record.config, config))
    if config and shards != there:
        remarks.append(f"the set has {shards} shards, {shown(old)} has {there}")
    return tuple(remarks)


def _vector(name: str) -> str:
    return shown(name) if name else "(unnamed)"


def _kind(kind: tuple[Any, ...] | None) -> str:
    if kind is None:
        return "missing"
    return "sparse" if kind == ("sparse",) else f"{kind[0]} x {kind[1]}{' multi' if kind[2] else ''}"


# --- for people ---------------------------------------------------------------------------------------------------------


def _steps(plan: Undertaking) -> Iterable[str]:
    into, shards = shown(plan.into), len(plan.record.shards)
    yield from plan.remarks
    if plan.is_new:
        yield f"{into} is created" + (f", with its shard keys ({len(plan.keys)})" if plan.keys else "")
    yield f"points go into {into} one by one" if plan.points else f"{shards} shards are uploaded into {into}"
    yield "it is waited for and checked" if plan.is_new else "it is checked; nothing is deleted"
    yield from _switch_steps(plan)
    for alias, name in sorted(plan.left.items()):
        yield f"the alias {shown(alias)} of the set stays: it is taken by {shown(name)} (--aliases all moves it)"


def _switch_steps(plan: Undertaking) -> Iterable[str]:
    aliases, old = ", ".join(map(shown, plan.aliases)), shown(plan.old or "")
    if plan.way == "new":
        yield "nothing is switched"
    elif plan.way == "replace":
        yield f"{old} is copied away and deleted, what was written to it meanwhile with it"
        yield f"at once {aliases} is made an alias of the restored one; requests fail in between, for some 10 ms"
    elif plan.aliases:
        lead = f"the alias {aliases} leads" if len(plan.aliases) == 1 else f"the aliases {aliases} lead"
        yield f"{lead} to it, by one atomic action" + (f"; {old} is kept" if plan.old else "")
