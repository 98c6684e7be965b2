"""A store of one's own whose certificate nobody else knows."""

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from recoup.errors import StorageError
from recoup.storage.object_store import ObjectStorage, Options, connect
from s3_server.buckets import Bucket

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        return
    finally:
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class Terminator:
    """Speaks TLS to clients and plain HTTP to the server."""

    def __init__(self, certificate: Path, key: Path, target: tuple[str, int]) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._open: list[socket.socket] = []
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(plain,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, plain: socket.socket) -> None:
        self._open.append(plain)
        try:
            client = self._context.wrap_socket(plain, server_side=True)
        except OSError:  # the client did not trust us
            plain.close()
            return
        server = socket.create_connection(self._target)
        self._open += [client, server]
        back = threading.Thread(target=_pump, args=(server, client))
        back.start()
        _pump(client, server)
        back.join()
        client.close()
        server.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._open:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in self._threads:
            thread.join()


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    names = ["-subj", "/CN=recoup test", "-addext", "subjectAltName=IP:127.0.0.1"]
    names += ["-addext", "basicConstraints=critical,CA:FALSE"]
    made = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    subprocess.run([*new, *made, *names], check=True, capture_output=True)
    return tmp_path / "cert.pem"


@pytest.fixture
def endpoint(authority: Path, bucket: Bucket) -> Iterator[str]:
    place = urlsplit(bucket.endpoint)
    terminator = Terminator(authority, authority.with_name("key.pem"), (str(place.hostname), place.port or 80))
    yield f"https://127.0.0.1:{terminator.port}"
    terminator.close()


def opened(bucket: Bucket, endpoint: str, **more: object) -> ObjectStorage:
    return connect(
        bucket.url, Options.model_validate({**bucket.options, "endpoint": endpoint, "retry_wait": 0.01, **more})
    )


def test_what_the_file_of_certificates_names_is_trusted(bucket: Bucket, endpoint: str, authority: Path) -> None:
    storage = opened(bucket, endpoint, ca_file=authority)
    storage.put("key", b"data")
    assert storage.get("key") == b"data"


def test_an_unknown_certificate_is_told_at_once_and_nothing_is_sent(bucket: Bucket, endpoint: str) -> None:
    storage = opened(bucket, endpoint)
    for act in (lambda: storage.put("key", b"data"), lambda: storage.get("key")):
        with pytest.raises(StorageError, match=r"certificate of .* is not trusted") as caught:
            act()
        assert "ca_file" in caught.value.hint
        assert "tried" not in caught.value.message
    assert bucket.keys() == []


def test_a_file_of_certificates_that_is_none_is_told(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    for file in ("missing.pem", "empty.pem"):
        with pytest.raises(StorageError, match="certificates in"):
            opened(bucket, "https://127.0.0.1:1", ca_file=tmp_path / file).put("key", b"data")
