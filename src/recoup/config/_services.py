"""Databases and servers that variables and compose files name."""

import http.client
import json
import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from recoup.config import _yaml
from recoup.config._tree import Node, child
from recoup.errors import ConfigError
from recoup.model.secrets import bare_url
from recoup.model.structs import Struct

_COMPOSE_FILE = re.compile(r"(?:docker-)?compose[\w.-]*\.ya?ml\Z")
_ADDRESS = re.compile(r"(?:URL|URI|DSN|HOST|LOCATION)\Z", re.IGNORECASE)
_FILE_URL = re.compile(r"(?P<engine>sqlite|duckdb)(?:\+\w+)?:///(?P<path>[^?#]+)", re.IGNORECASE)
_IMAGES = {"qdrant": "Qdrant", "postgres": "PostgreSQL", "pgvector": "PostgreSQL", "timescale": "PostgreSQL"}


_HERE = ("localhost", "127.0.0.1", "::1")


class Service(Struct):
    """A database or server that something names.

    Attributes:
        what: `PostgreSQL` or `Qdrant`; `sqlite` or `duckdb` for a file.
        address: without user, password and query; for a file its path.
        where: what names it.
        variable: whose value is its whole URL, where there is one.
    """

    what: str
    address: str
    where: str
    variable: str = ""


def in_variables(variables: Mapping[str, str], where: str) -> Iterator[Service]:
    """What variables such as DATABASE_URL and QDRANT_URL name.

    Args:
        variables: names and values.
        where: how to say where they are set.
    """
    for name, value in sorted(variables.items()):
        if not _ADDRESS.search(name):
            continue
        if file := _FILE_URL.match(value):
            yield Service(file["engine"].lower(), file["path"], f"{name} in {where}")
        elif value.lower().startswith("postgres"):
            yield Service("PostgreSQL", bare_url(value), f"{name} in {where}", name)
        elif "QDRANT" in name.upper() and value:
            yield Service("Qdrant", bare_url(value), f"{name} in {where}")


def compose_files(names: frozenset[str]) -> list[str]:
    """Those names that are compose files."""
    return sorted(name for name in names if _COMPOSE_FILE.match(name))


def in_compose(file: Path) -> Iterator[Service]:
    """What a compose file runs, and what the variables in it name.

    Raises:
        ConfigError: it cannot be read.
    """
    services = child(_yaml.read(file, file.name), "services")
    for name, service in (services.entries if services else {}).items():
        image = child(service, "image")
        for part, what in _IMAGES.items():
            if image and isinstance(image.value, str) and part in image.value:
                yield Service(what, f"service {name} ({image.value})", file.name)
                break
        yield from in_variables(_environment(child(service, "environment")), file.name)


def _environment(node: Node | None) -> dict[str, str]:
    """Compose writes it as a mapping or as a list of NAME=value."""
    if node is None:
        return {}
    if isinstance(node.value, tuple):
        pairs = [item.value.partition("=") for item in node.value if isinstance(item.value, str)]
        return {name: value for name, _, value in pairs}
    return {name: entry.value for name, entry in node.entries.items() if isinstance(entry.value, str)}


def readable_compose(file: Path) -> tuple[list[Service], str]:
    """What a compose file names, and what is wrong with it (empty when nothing is)."""
    try:
        return list(in_compose(file)), ""
    except ConfigError as error:
        return [], error.message


def port_here(url: str) -> int | None:
    """The port of a URL of this machine (http, a loopback address or `localhost`); None for anything else."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    if parts.scheme != "http" or parts.path.strip("/") or host not in _HERE:
        return None
    return port or 6333


def postgres_answers(url: str) -> bool:
    """Whether something on this machine takes connections where a URL says that PostgreSQL is; nothing leaves it."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 5432
    except ValueError:
        return False
    if not host:
        return any(Path(folder, f".s.PGSQL.{port}").is_socket() for folder in ("/var/run/postgresql", "/tmp"))  # noqa: S108
    if host not in _HERE:
        return False
    try:
        socket.create_connection((host, port), timeout=0.5).close()
    except OSError:
        return False
    return True


def qdrant_answers(port: int) -> bool:
    """Whether a Qdrant server answers on this machine; nothing leaves it.

    Args:
        port: TCP port on 127.0.0.1; Qdrant's own is 6333.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=0.5)
    try:
        connection.request("GET", "/")
        answer = json.loads(connection.getresponse().read(4096))
    except (OSError, ValueError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return isinstance(answer, dict) and "qdrant" in str(answer.get("title", "")).lower()
