"""A server of one's own whose certificate nobody else knows."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path


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
    """Speaks TLS to clients and in the clear to the server.

    Args:
        certificate: shown to clients.
        key: its key.
        target: host and port of the server.
        protocols: what clients are offered (ALPN); nothing by default.
    """

    def __init__(self, certificate: Path, key: Path, target: tuple[str, int], protocols: Sequence[str] = ()) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        if protocols:
            self._context.set_alpn_protocols(list(protocols))
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


def certificate(folder: Path) -> Path:
    """Makes a certificate for 127.0.0.1 that is its own authority, with its key beside it (`key.pem`)."""
    names = ["-subj", "/CN=recoup test", "-addext", "subjectAltName=IP:127.0.0.1"]
    names += ["-addext", "basicConstraints=critical,CA:FALSE"]
    made = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    subprocess.run([*new, *made, *names], check=True, capture_output=True)
    return folder / "cert.pem"
