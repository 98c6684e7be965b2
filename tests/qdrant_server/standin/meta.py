"""What all nodes of a cluster agree on: collections, where their shards are and in what state, and aliases.

It changes by small steps, each of which every node applies and writes down; steps of different nodes can cross each other.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Step = Mapping[str, Any]
"""`{"step": ..., ...}`; the functions below `Meta` say with which arguments."""

State = dict[str, Any]
"""One collection: `born` (unlike that of another of the same name), `config`, `schema` (field to index parameters), `keys` (shard
keys in their order) and `shards`: id as text to `key` and `replicas` (peer id as text to state)."""


class Meta:
    """The agreed facts as one node keeps them.

    Args:
        storage: the node's storage folder.
    """

    def __init__(self, storage: Path) -> None:
        self._collections = storage / "collections"
        self._aliases = storage / "aliases.json"
        self._collections.mkdir(parents=True, exist_ok=True)
        self.aliases: dict[str, str] = json.loads(self._aliases.read_text()) if self._aliases.exists() else {}
        self.collections: dict[str, State] = {
            folder.name: json.loads((folder / "state.json").read_text())
            for folder in self._collections.iterdir()
            if (folder / "state.json").exists()
        }

    def folder(self, collection: str) -> Path:
        """Where a collection's data are."""
        return self._collections / collection

    def apply(self, step: Step) -> None:
        """Takes one step and writes it down."""
        _STEPS[step["step"]](self, step)

    def _save(self, name: str) -> None:
        folder = self.folder(name)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "state.json", self.collections[name])

    def _put(self, step: Step) -> None:
        self.collections[step["name"]] = dict(step["state"])
        self._save(step["name"])

    def _drop(self, step: Step) -> None:
        name = step["name"]
        self.collections.pop(name, None)
        (self.folder(name) / "state.json").unlink(missing_ok=True)
        shutil.rmtree(self.folder(name), ignore_errors=True)
        left = {alias: target for alias, target in self.aliases.items() if target != name}
        if left != self.aliases:
            self._alias({"aliases": left})

    def _alias(self, step: Step) -> None:
        self.aliases = dict(step["aliases"])
        write_json(self._aliases, self.aliases)

    def _replica(self, step: Step) -> None:
        if state := self.collections.get(step["name"]):
            state["shards"][str(step["shard"])]["replicas"][str(step["peer"])] = step["state"]
            self._save(step["name"])

    def _index(self, step: Step) -> None:
        if state := self.collections.get(step["name"]):
            if step["schema"] is None:
                state["schema"].pop(step["field"], None)
            else:
                state["schema"][step["field"]] = step["schema"]
            self._save(step["name"])

    def _key(self, step: Step) -> None:
        if state := self.collections.get(step["name"]):
            state["keys"] = step["keys"]
            state["shards"] = step["shards"]
            self._save(step["name"])

    def _config(self, step: Step) -> None:
        if state := self.collections.get(step["name"]):
            state["config"] = step["config"]
            self._save(step["name"])


_STEPS: Mapping[str, Callable[[Meta, Step], None]] = {
    "put": Meta._put,
    "drop": Meta._drop,
    "alias": Meta._alias,
    "replica": Meta._replica,
    "index": Meta._index,
    "key": Meta._key,
    "config": Meta._config,
}


def write_json(path: Path, value: object) -> None:
    """Writes a file whole or not at all."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(value))
    os.replace(new, path)
