"""A Qdrant server behind TLS whose certificate nobody else knows."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from qdrant_server.running import Qdrant
from recoup.errors import SourceError
from recoup.sources.qdrant.server import QdrantSource
from tls_terminating import Terminator, certificate

from .taking import fill, keep

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")

Make = Callable[..., QdrantSource]


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    return certificate(tmp_path)


@pytest.fixture
def ports(authority: Path, qdrant: Qdrant) -> Iterator[tuple[int, int]]:
    """Of REST and of gRPC."""
    fill(qdrant, "docs", 30)
    rest = urlsplit(qdrant.url).port or 80
    ends = [
        Terminator(authority, authority.with_name("key.pem"), ("127.0.0.1", port), protocols)
        for port, protocols in ((rest, ["http/1.1"]), (qdrant.grpc_port, ["h2"]))
    ]
    yield ends[0].port, ends[1].port
    for end in ends:
        end.close()


@pytest.mark.parametrize("method", ["stream", "scroll"])
@pytest.mark.parametrize("by", ["setting", "variable"])
def test_what_the_file_of_certificates_names_is_trusted(
    qdrant: Qdrant,
    source: Make,
    ports: tuple[int, int],
    authority: Path,
    method: str,
    by: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    more = {"ca_file": authority.name} if by == "setting" else {}  # relative to the configuration's folder
    if by == "variable":
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    url = f"https://127.0.0.1:{ports[0]}"
    kept = keep(source(qdrant, url=url, grpc_port=ports[1], method=method, **more))
    assert kept.facts.values["collection docs"]["points"] == 30


def test_an_unknown_certificate_is_told_with_what_to_do(
    qdrant: Qdrant, source: Make, ports: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with pytest.raises(SourceError, match=r"certificate of .* is not trusted") as caught:
        source(qdrant, url=f"https://127.0.0.1:{ports[0]}", grpc_port=ports[1]).check()
    assert "ca_file" in caught.value.hint


@pytest.mark.parametrize("content", [None, "nothing"])
def test_a_file_of_certificates_that_is_none_is_told(
    qdrant: Qdrant, source: Make, tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)
    with pytest.raises(SourceError, match=r"certificates in .*ca\.pem cannot be read"):
        source(qdrant, url="https://127.0.0.1:1", ca_file="ca.pem").check()
