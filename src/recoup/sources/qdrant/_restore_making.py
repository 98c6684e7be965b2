"""Making a collection to restore into: as it was recorded, with the shard numbers that its points are routed by.

A marking alias leads to it as long as it is half made. Deleting a collection deletes its aliases, so a collection of that name
which somebody made later does not have the mark, and no cleanup takes it for ours.
"""

import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from recoup.errors import RestoreError
from recoup.model.names import shown
from recoup.sources.qdrant._addresses import at
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._faults import MissingError
from recoup.sources.qdrant._inventory import Collection, Inventory, collection
from recoup.sources.qdrant._preflight import Undertaking, is_custom
from recoup.sources.qdrant._record import CollectionRecord
from recoup.system.clock import Clock

CONSENSUS = 60
"""Seconds that the server may take to agree on a new collection, shard key or alias with its peers."""

_NOT_AT_CREATION = ("read_fan_out_factor", "read_fan_out_delay_ms")  # can only be set afterwards
_SECTIONS = {
    "hnsw_config": "hnsw_config",
    "optimizer_config": "optimizers_config",
    "wal_config": "wal_config",
    "quantization_config": "quantization_config",
    "metadata": "metadata",
}
_POLL = 0.1  # seconds


_MARK = "recoup_restoring_"


def fresh_mark() -> str:
    """A name for the alias that marks a half-made collection."""
    return f"{_MARK}{secrets.token_hex(8)}"


def is_mark(alias: str) -> bool:
    """Whether an alias marks a half-made collection, and is none that anybody asks for."""
    return alias.startswith(_MARK)


def creation(config: Mapping[str, Any]) -> dict[str, Any]:
    """The body that creates a collection of a recorded configuration.

    Strict mode is left out: its limits would stop the restore's own checks. `finishing` has it.
    """
    params = {key: value for key, value in _filled(config.get("params")).items() if key not in _NOT_AT_CREATION}
    sections = {new: _filled(config.get(old)) for old, new in _SECTIONS.items()}
    return params | {key: value for key, value in sections.items() if value}


def finishing(config: Mapping[str, Any]) -> dict[str, Any]:
    """The body that gives a collection what could not be, or should not be, there from the beginning; empty where nothing is."""
    params = {key: value for key, value in _filled(config.get("params")).items() if key in _NOT_AT_CREATION}
    strict = _filled(config.get("strict_mode_config"))
    return ({"params": params} if params else {}) | ({"strict_mode_config": strict} if strict else {})


def _filled(section: Any) -> dict[str, Any]:
    """A section without its nulls: some versions do not read them back."""
    return {key: value for key, value in (section or {}).items() if value is not None}


def make(plan: Undertaking, inventory: Inventory, mark: str, clock: Clock, timeout: float) -> Collection:
    """Creates the collection, marks it, creates its shard keys and payload indexes, and waits until every node knows it.

    Args:
        plan: what is made.
        inventory: of the server.
        mark: the marking alias.
        clock: time.
        timeout: seconds.

    Raises:
        ServerError: the server refuses, or is gone.
        RestoreError: a node does not learn of it in time.
    """
    server = inventory.server
    server.put(at("collections", plan.into), creation(plan.record.config), wait=None, timeout=CONSENSUS)
    act_on_aliases(server, [lead(mark, plan.into)])
    for step in plan.keys:
        number = {"shards_number": step.shards}
        server.put(
            at("collections", plan.into, "shards"), {"shard_key": step.key, **number}, wait=None, timeout=CONSENSUS
        )
    for step in plan.keys:
        if step.filler:
            server.post(
                at("collections", plan.into, "shards", "delete"), {"shard_key": step.key}, wait=None, timeout=CONSENSUS
            )
    index_payload(server, plan.into, plan.record.payload_schema)
    return _known_everywhere(plan, inventory, clock, timeout)


def _known_everywhere(plan: Undertaking, inventory: Inventory, clock: Clock, timeout: float) -> Collection:
    wanted = sum(step.shards for step in plan.keys if not step.filler)
    if not is_custom(plan.record.config):
        wanted = int((plan.record.config.get("params") or {}).get("shard_number") or 1)
    end = clock.monotonic() + timeout
    while True:
        seen = [inventory.collection(plan.into), *_views_of_others(inventory, plan.into)]
        if all(len(view.shards) == wanted for view in seen):
            return seen[0]
        if clock.monotonic() > end:
            raise RestoreError(f"not every node knows the shards of {shown(plan.into)} after {timeout:g} seconds")
        clock.sleep(_POLL)


def _views_of_others(inventory: Inventory, name: str) -> Iterable[Collection]:
    for node in inventory.nodes[1:]:
        try:
            yield collection((node,), name, inventory.aliases)
        except MissingError:
            yield Collection(name, {}, {})


def same_numbers(made: Collection, record: CollectionRecord) -> bool:
    """Whether every shard of the new collection has the number and key that it was captured with."""
    recorded = {shard.id: (type(shard.key), shard.key) for shard in record.shards}
    return recorded == {shard.id: (type(shard.key), shard.key) for shard in made.shards}


def index_payload(server: Server, name: str, schema: Mapping[str, Any]) -> None:
    """Creates the payload indexes; one that is there is left as it is."""
    for field, about in schema.items():
        parameters = about.get("params") or about.get("data_type")
        body = {"field_name": field, "field_schema": parameters}
        server.put(done(at("collections", name, "index")), body, wait=None)


def done(path: str) -> str:
    """The path of a write that is answered when it is done, not when it is accepted."""
    return f"{path}?wait=true"


def lead(alias: str, collection: str) -> dict[str, Any]:
    """The action that makes an alias."""
    return {"create_alias": {"alias_name": alias, "collection_name": collection}}


def drop(alias: str) -> dict[str, Any]:
    """The action that removes an alias; one that is not there is none to Qdrant."""
    return {"delete_alias": {"alias_name": alias}}


def act_on_aliases(server: Server, actions: Iterable[Mapping[str, Any]]) -> None:
    """Carries alias actions out, all or none."""
    if listed := list(actions):
        server.post(at("collections", "aliases"), {"actions": listed}, wait=None, timeout=CONSENSUS)
