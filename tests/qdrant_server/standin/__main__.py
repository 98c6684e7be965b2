"""Starts one node; see the package."""

import argparse
import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path

from qdrant_server.standin import replicating
from qdrant_server.standin.admin import AdminServer
from qdrant_server.standin.node import Node
from qdrant_server.standin.settings import Settings
from qdrant_server.standin.web import Server


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m qdrant_server.standin")
    parser.add_argument("--storage", type=Path, required=True, help="folder of the data and the snapshots")
    parser.add_argument("--port", type=int, default=0, help="HTTP; 0: any")
    parser.add_argument("--grpc-port", type=int, default=0, help="gRPC; 0: any")
    parser.add_argument("--admin-port", type=int, default=0, help="where the faults are switched; 0: any")
    parser.add_argument("--config", type=json.loads, default={}, help="settings as JSON, see settings.py")
    return parser.parse_args()


def main() -> None:
    """Runs until SIGTERM or SIGINT."""
    arguments = _arguments()
    ended, grpc_wanted = threading.Event(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: ended.set())
    server, node = _server(arguments)
    admin = AdminServer(arguments.admin_port, node.switches, grpc_wanted)
    for each in (server, admin):
        threading.Thread(target=each.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    node.join()
    threading.Thread(target=replicating.catch_up, args=(node,), daemon=True).start()
    threading.Thread(target=node.optimize_for_ever, args=(ended,), daemon=True).start()
    if not node.settings.grpc_when_asked:
        grpc_wanted.set()
    grpc = (node.settings.url, arguments.grpc_port, grpc_wanted, ended)
    threading.Thread(target=_serve_grpc, args=grpc, daemon=True).start()
    threading.Thread(target=_end_with_parent, args=(os.getppid(), ended), daemon=True).start()
    node.ready = True
    sys.stdout.write(f"{json.dumps({'port': server.server_port, 'admin_port': admin.server_port})}\n")
    sys.stdout.flush()
    parent = os.getppid()
    while not ended.wait(1):
        if node.settings.ends_with_parent and os.getppid() != parent:
            break
    server.finish()
    node.close()
    os._exit(0)  # open connections without a request keep their threads


def _end_with_parent(parent: int, ended: threading.Event) -> None:
    """Ends the server when whoever started it was killed: nobody else would."""
    while not ended.wait(1.0):
        if os.getppid() != parent:
            ended.set()


def _server(arguments: argparse.Namespace) -> tuple[Server, Node]:
    """The HTTP interface, which has its port before the node that answers has to know it."""
    shutil.rmtree(arguments.storage / "storage" / "tmp", ignore_errors=True)
    server = Server(("127.0.0.1", arguments.port))
    given = {**arguments.config, "peers": tuple(arguments.config.get("peers", ()))}
    settings = Settings(folder=arguments.storage.resolve(), url=f"http://127.0.0.1:{server.server_port}", **given)
    server.node = Node(settings)
    return server, server.node


def _serve_grpc(url: str, port: int, wanted: threading.Event, ended: threading.Event) -> None:
    """Serves gRPC from `wanted` until `ended`; beside HTTP, because its modules take seconds to import."""
    wanted.wait()
    from qdrant_server.standin import grpc_api

    with grpc_api.serving(url, port):
        ended.wait()


if __name__ == "__main__":
    main()
