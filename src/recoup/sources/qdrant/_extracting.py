"""Chosen points as a file for other programs: JSON lines, or Parquet."""

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from recoup.errors import RecoupError, UsageError
from recoup.model.names import shown
from recoup.sources.qdrant._points_file import Point
from recoup.system.atomicfile import PRIVATE_FILE, create_private
from recoup.system.subprocesses import call

FORMATS = (".jsonl", ".parquet")
"""Endings of the files that can be written."""

_MEMORY = 96 << 20  # bytes that the writer of Parquet may use besides its buffers for the longest line
_SHORTEST = 1 << 20  # bytes of the longest line, at least
_GROUP = 2048  # rows of a Parquet row group: it is kept in memory until it is full


def write_file(path: Path, points: Iterable[Point], config: Mapping[str, Any]) -> int:
    """Writes points into a new file, mode 0600, and returns how many; when it fails, nothing stays.

    Args:
        path: its ending says the format: `.jsonl` (Qdrant's JSON form of each point) or `.parquet` (columns `id`, `shard_key`
            and `payload` as text, `vector` or `vector.NAME` as lists of numbers).
        points: what to write.
        config: the collection's, for the columns of vectors.

    Raises:
        UsageError: there is something of that name, or no such format.
    """
    if path.suffix not in FORMATS:
        raise UsageError(f"{shown(path.name)} ends in no format that is known", f"Known: {', '.join(FORMATS)}.")
    if path.suffix == ".jsonl":
        with _new(path) as file:
            return _write_lines(file, points, _json_form)[0]
    columns = vector_columns(config)
    with tempfile.TemporaryDirectory(prefix="recoup-parquet-", dir=path.parent) as folder:
        lines, table = Path(folder) / "points.jsonl", Path(folder) / "points.parquet"
        with _new(path):
            with _new(lines) as file:
                count, longest = _write_lines(file, points, _row)
            call(write_parquet, str(lines), str(table), columns, longest)
            table.chmod(PRIVATE_FILE)
            table.replace(path)
    return count


@contextlib.contextmanager
def _new(path: Path) -> Iterator[BinaryIO]:
    try:
        descriptor = create_private(path)
    except FileExistsError:
        raise UsageError(f"{shown(str(path))} is there already", "Choose another name.") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _write_lines(
    file: BinaryIO, points: Iterable[Point], form: Callable[[Point], Mapping[str, Any]]
) -> tuple[int, int]:
    """Writes them, and returns how many, and the bytes of the longest line."""
    count = longest = 0
    for point in points:
        line = json.dumps(form(point), ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
        file.write(line)
        count, longest = count + 1, max(longest, len(line))
    return count, longest


def _json_form(point: Point) -> Mapping[str, Any]:
    return {key: value for key, value in point.items() if value is not None}


def _row(point: Point) -> Mapping[str, Any]:
    """A point as the columns have it; the payload as text, so that every row has one type."""
    row = {"id": str(point["id"]), "payload": json.dumps(point.get("payload") or {}, ensure_ascii=False)}
    if point.get("shard_key") is not None:
        row["shard_key"] = str(point["shard_key"])
    vector = point.get("vector")
    named = vector if isinstance(vector, dict) else {"": vector}
    return {**row, **{_column(name): one for name, one in named.items()}}


def _column(vector: str) -> str:
    return f"vector.{vector}" if vector else "vector"


def vector_columns(config: Mapping[str, Any]) -> dict[str, str]:
    """Columns of a collection's vectors, with DuckDB's type of each.

    Args:
        config: the collection's `config`.
    """
    params = config.get("params") or {}
    vectors = params.get("vectors") or {}
    named = {"": vectors} if "size" in vectors else vectors
    columns = {
        _column(name): "FLOAT[][]" if isinstance(one, dict) and one.get("multivector_config") else "FLOAT[]"
        for name, one in named.items()
    }
    sparse = params.get("sparse_vectors") or {}
    return columns | {_column(name): 'STRUCT("indices" UINTEGER[], "values" FLOAT[])' for name in sparse}


def write_parquet(lines: str, table: str, vectors: Mapping[str, str], longest: int) -> None:
    """Turns JSON lines into a Parquet file; runs in a child.

    Args:
        lines: file of rows.
        table: file to write.
        vectors: column to DuckDB's type.
        longest: bytes of the longest line.
    """
    import duckdb

    columns = {"id": "VARCHAR", "shard_key": "VARCHAR", "payload": "VARCHAR", **vectors}
    types = ", ".join(f"{_quoted(name)}: {_quoted(kind)}" for name, kind in columns.items())
    line = max(longest, _SHORTEST)
    rows = f"read_json({_quoted(lines)}, format = 'newline_delimited', columns = {{{types}}}, maximum_object_size = {line})"
    with duckdb.connect() as connection:
        connection.execute(f"SET memory_limit = '{_MEMORY + 8 * line} bytes'")
        connection.execute(f"SET temp_directory = {_quoted(str(Path(table).parent / 'spill'))}")
        connection.execute("SET threads = 1")
        connection.execute("SET preserve_insertion_order = false")
        try:
            connection.execute(
                f"COPY (SELECT * FROM {rows}) TO {_quoted(table)} (FORMAT parquet, ROW_GROUP_SIZE {_GROUP})"  # noqa: S608 - all quoted
            )
        except duckdb.Error as error:
            raise RecoupError(f"the Parquet file could not be written: {error}", "Write .jsonl instead.") from None


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
