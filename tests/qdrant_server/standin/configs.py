"""A collection's configuration: with Qdrant's defaults filled in, and as the engine wants it."""

from collections.abc import Mapping
from typing import Any

import qdrant_edge as edge

from qdrant_server.standin.errors import Refused, bad_input

Json = Mapping[str, Any]

_HNSW = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000, "max_indexing_threads": 0, "on_disk": False}
_OPTIMIZERS = {
    "deleted_threshold": 0.2,
    "vacuum_min_vector_number": 1000,
    "default_segment_number": 0,
    "max_segment_size": None,
    "memmap_threshold": None,
    "indexing_threshold": 10000,
    "flush_interval_sec": 5,
    "max_optimization_threads": None,
    "prevent_unoptimized": None,
}
_WAL = {"wal_capacity_mb": 32, "wal_segments_ahead": 0, "wal_retain_closed": 1}
_DISTANCES = {
    name: getattr(edge.Distance, name) for name in ("Cosine", "Euclid", "Dot", "Manhattan")
}  # Qdrant's own names
_DATATYPES = {
    "float32": edge.VectorStorageDatatype.Float32,
    "float16": edge.VectorStorageDatatype.Float16,
    "uint8": edge.VectorStorageDatatype.Uint8,
}


def completed(body: Json, shard_number: int) -> dict[str, Any]:
    """The `config` of a new collection, from the body that asks for it."""
    given = {name: value for name, value in body.items() if value is not None}
    params: dict[str, Any] = {"vectors": given.get("vectors", {}), "shard_number": shard_number}
    if given.get("sharding_method") == "custom":
        params["sharding_method"] = "custom"
    for name, default in (("replication_factor", 1), ("write_consistency_factor", 1)):
        params[name] = given.get(name, default)
    if "read_fan_out_factor" in given:
        params["read_fan_out_factor"] = given["read_fan_out_factor"]
    params["on_disk_payload"] = given.get("on_disk_payload", True)
    if "sparse_vectors" in given:
        params["sparse_vectors"] = given["sparse_vectors"]
    config: dict[str, Any] = {
        "params": params,
        "hnsw_config": _HNSW | dict(given.get("hnsw_config", {})),
        "optimizer_config": _OPTIMIZERS | dict(given.get("optimizers_config", {})),
        "wal_config": _WAL | dict(given.get("wal_config", {})),
        "quantization_config": given.get("quantization_config"),
    }
    for name in ("strict_mode_config", "metadata"):
        if name in given:
            config[name] = given[name]
    return config


def updated(config: Json, body: Json) -> dict[str, Any]:
    """The `config` after `PATCH` with `body`."""
    new = {name: dict(value) if isinstance(value, Mapping) else value for name, value in config.items()}
    for section, name in (
        ("params", "params"),
        ("hnsw_config", "hnsw_config"),
        ("optimizers_config", "optimizer_config"),
    ):
        new[name] = {**new[name], **(body.get(section) or {})}
    for name in ("quantization_config", "strict_mode_config", "metadata"):
        if body.get(name) is not None:
            new[name] = body[name]
    return new


def checked_vectors(body: Json) -> None:
    """Refuses what the engine would not take.

    Raises:
        Refused: a distance or a size makes no sense.
    """
    for name, params in _named(body.get("vectors") or {}).items():
        if params.get("distance") not in _DISTANCES or not isinstance(params.get("size"), int):
            raise Refused(400, f"Format error in JSON body: vector {name!r} lacks a size or a known distance")
        if not 1 <= params["size"] <= 65536:
            raise Refused(422, f"Validation error in JSON body: [vectors.size: value {params['size']} invalid]")


def engine_config(config: Json) -> Any:
    """What the engine needs to create a shard of the collection."""
    params = config["params"]
    hnsw = config["hnsw_config"]
    return edge.EdgeConfig(
        vectors={name: _vector(entry, hnsw) for name, entry in _named(params["vectors"]).items()},
        sparse_vectors={name: _sparse(entry or {}) for name, entry in params.get("sparse_vectors", {}).items()},
        on_disk_payload=params["on_disk_payload"],
        hnsw_config=_hnsw(hnsw),
        quantization_config=_quantization(config.get("quantization_config")),
        optimizers=optimizers(config),
        max_search_threads=1,
    )


def optimizers(config: Json) -> Any:
    """When the engine merges segments and builds their graphs."""
    given = config["optimizer_config"]
    return edge.EdgeOptimizersConfig(
        deleted_threshold=given["deleted_threshold"],
        vacuum_min_vector_number=given["vacuum_min_vector_number"],
        default_segment_number=given["default_segment_number"] or 2,
        max_segment_size=given["max_segment_size"],
        indexing_threshold=given["indexing_threshold"],
    )


def vector_names(config: Json) -> list[str]:
    """Names of the dense vectors; the unnamed one is empty."""
    return list(_named(config["params"]["vectors"]))


def kilobytes_per_point(config: Json) -> float:
    """Size of a point's dense vectors, at four bytes a number."""
    return sum(int(entry["size"]) * 4 for entry in _named(config["params"]["vectors"]).values()) / 1024


def _named(vectors: Json) -> dict[str, Any]:
    return {"": vectors} if "size" in vectors else dict(vectors)


def _vector(params: Json, hnsw: Json) -> Any:
    multi = params.get("multivector_config")
    own = params.get("hnsw_config")
    return edge.EdgeVectorParams(
        params["size"],
        _DISTANCES[params["distance"]],
        on_disk=params.get("on_disk"),
        multivector_config=edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim) if multi else None,
        datatype=_DATATYPES.get(params.get("datatype") or ""),
        quantization_config=_quantization(params.get("quantization_config")),
        hnsw_config=_hnsw({**hnsw, **own}) if own else None,
    )


def _sparse(params: Json) -> Any:
    index = params.get("index") or {}
    return edge.EdgeSparseVectorParams(
        full_scan_threshold=index.get("full_scan_threshold"),
        on_disk=index.get("on_disk"),
        modifier=edge.Modifier.Idf if params.get("modifier") == "idf" else None,
        datatype=_DATATYPES.get(index.get("datatype") or ""),
    )


def _hnsw(params: Json) -> Any:
    return edge.HnswIndexConfig(
        params["m"],
        params["ef_construct"],
        params["full_scan_threshold"],
        on_disk=params.get("on_disk"),
        payload_m=params.get("payload_m"),
        inline_storage=params.get("inline_storage"),
    )


def _quantization(params: Json | None) -> Any:
    if not params:
        return None
    if scalar := params.get("scalar"):
        return edge.ScalarQuantizationConfig(
            edge.ScalarType.Int8, quantile=scalar.get("quantile"), always_ram=scalar.get("always_ram")
        )
    if (binary := params.get("binary")) is not None:
        return edge.BinaryQuantizationConfig(always_ram=binary.get("always_ram"))
    if product := params.get("product"):
        ratio = getattr(edge.CompressionRatio, product["compression"].capitalize())
        return edge.ProductQuantizationConfig(ratio, always_ram=product.get("always_ram"))
    raise bad_input(f"quantization {params} is not served")
