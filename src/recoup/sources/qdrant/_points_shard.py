"""A file of points made into shards that the engine opens, to be counted, filtered and searched as those of a snapshot are.

Runs in a child: the engine reads what may have come from anywhere.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recoup.errors import DamagedError, RecoupError
from recoup.model.names import shown
from recoup.sources.qdrant._points_file import Header, Point, PointsReader
from recoup.system.atomicfile import make_private_folder

if TYPE_CHECKING:
    import qdrant_edge as edge

_BATCH = 256  # points
_COMMON = ("is_tenant", "lookup", "range", "is_principal", "min_token_len", "max_token_len", "lowercase")


def build(points: str, folder: str) -> dict[str, Any]:
    """Makes a shard for each shard key, or one; answers with the header and, for each shard, its key and how many points it has.

    Args:
        points: the file.
        folder: gets a folder for each shard, `0`, `1`, ....

    Raises:
        DamagedError: the file is not whole, or its points do not fit its own configuration.
    """
    origin = Path(points).name
    with Path(points).open("rb") as file:
        reader = PointsReader(file, origin)
        building = _Building(reader.header, Path(folder))
        try:
            for point in reader:
                building.add(point)
            building.finish()
        except (RecoupError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - the engine's own errors have no class of their own
            raise DamagedError(f"{shown(origin)} holds points that Qdrant's engine refuses: {error}") from None
    header = reader.header
    return {
        "collection": header.collection,
        "server": header.server,
        "config": header.config,
        "payload_schema": header.payload_schema,
        "shards": [{"key": json.loads(key), "points": shard.points} for key, shard in building.shards.items()],
    }


class _Shard:
    """One shard being filled."""

    def __init__(self, path: Path, header: Header) -> None:
        import qdrant_edge as edge

        make_private_folder(path)
        self._shard = edge.EdgeShard.create(str(path), engine_config(header.config))
        self._batch: list[edge.Point] = []
        self.points = 0
        for name, about in header.payload_schema.items():
            self._shard.update(edge.UpdateOperation.create_field_index(name, index_parameters(about)))

    def add(self, point: Point) -> None:
        import qdrant_edge as edge

        self._batch.append(edge.Point(point["id"], _vectors(point["vector"]), point["payload"]))
        self.points += 1
        if len(self._batch) >= _BATCH:
            self._write()

    def _write(self) -> None:
        import qdrant_edge as edge

        self._shard.update(edge.UpdateOperation.upsert_points(self._batch))
        self._batch = []

    def finish(self) -> None:
        if self._batch:
            self._write()
        self._shard.flush()
        self._shard.close()


class _Building:
    """The shards of a file, by key as JSON, since 1 and "1" are different keys."""

    def __init__(self, header: Header, folder: Path) -> None:
        self._header, self._folder = header, folder
        self.shards: dict[str, _Shard] = {}

    def add(self, point: Point) -> None:
        self._of(json.dumps(point.get("shard_key"))).add(point)

    def _of(self, key: str) -> _Shard:
        if key not in self.shards:
            self.shards[key] = _Shard(self._folder / str(len(self.shards)), self._header)
        return self.shards[key]

    def finish(self) -> None:
        if not self.shards:
            self._of("null")
        for shard in self.shards.values():
            shard.finish()


def _vectors(vector: Any) -> Any:
    import qdrant_edge as edge

    if not isinstance(vector, dict):
        return vector
    return {
        name: edge.SparseVector(one["indices"], one["values"]) if isinstance(one, dict) else one
        for name, one in vector.items()
    }


def engine_config(config: Mapping[str, Any]) -> "edge.EdgeConfig":
    """The engine's configuration for a collection's vectors; quantization and graphs are left out, as searches are exact.

    Args:
        config: the collection's `config` as the server tells it.
    """
    import qdrant_edge as edge

    params = config.get("params") or {}
    vectors = params.get("vectors") or {}
    named = {"": vectors} if "size" in vectors else vectors
    sparse = params.get("sparse_vectors") or {}
    return edge.EdgeConfig(
        vectors={name: _dense(one) for name, one in named.items()},
        sparse_vectors={name: _sparse(one or {}) for name, one in sparse.items()},
        on_disk_payload=True,
        wal_enabled=False,
    )


def _dense(about: Mapping[str, Any]) -> "edge.EdgeVectorParams":
    import qdrant_edge as edge

    several = about.get("multivector_config")
    return edge.EdgeVectorParams(
        about["size"],
        getattr(edge.Distance, about["distance"]),
        on_disk=True,
        multivector_config=edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim) if several else None,
        datatype=_datatype(about),
    )


def _sparse(about: Mapping[str, Any]) -> "edge.EdgeSparseVectorParams":
    import qdrant_edge as edge

    modifier = edge.Modifier.Idf if about.get("modifier") == "idf" else None
    return edge.EdgeSparseVectorParams(modifier=modifier, datatype=_datatype(about.get("index") or {}))


def _datatype(about: Mapping[str, Any]) -> "edge.VectorStorageDatatype | None":
    import qdrant_edge as edge

    name = about.get("datatype")
    return getattr(edge.VectorStorageDatatype, str(name).capitalize()) if name else None


def index_parameters(about: Mapping[str, Any]) -> Any:
    """The engine's parameters of a payload index.

    Args:
        about: an entry of the payload schema as the server tells it: `data_type` and, where they were given, `params`.
    """
    import qdrant_edge as edge

    kind = str(about["data_type"])
    given = {
        name: value for name, value in (about.get("params") or {}).items() if name in _COMMON and value is not None
    }
    tokenizer = (about.get("params") or {}).get("tokenizer")
    if tokenizer:
        given["tokenizer"] = getattr(edge.TokenizerType, str(tokenizer).capitalize())
    if not given:
        return getattr(edge.PayloadSchemaType, kind.capitalize())
    return getattr(edge, f"{kind.capitalize()}IndexParams")(**given)
