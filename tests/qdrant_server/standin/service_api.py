"""What a server tells of itself."""

from qdrant_server.standin.answers import Bare, Request
from qdrant_server.standin.node import Node
from qdrant_server.standin.settings import COMMIT


def root(node: Node, request: Request) -> Bare:
    return Bare({"title": "qdrant - vector search engine", "version": node.settings.version, "commit": COMMIT})


def healthy(node: Node, request: Request) -> Bare:
    return Bare("healthz check passed")


def ready(node: Node, request: Request) -> Bare:
    return Bare("all shards are ready") if node.ready else Bare("some shards are not ready", 503)


def metrics(node: Node, request: Request) -> Bare:
    """What concerns snapshots; without a content type, as the server answers."""
    lines = [
        *("# HELP app_info information about qdrant server", "# TYPE app_info gauge"),
        f'app_info{{name="qdrant",version="{node.settings.version}"}} 1',
    ]
    for kind, words in (
        ("creation", "amount of snapshot creations that are currently running"),
        ("recovery", "amount of snapshot recovery operations currently running"),
    ):
        lines += [f"# HELP snapshot_{kind}_running {words}", f"# TYPE snapshot_{kind}_running gauge"]
        running = sorted(node.running.items())
        lines += [f'snapshot_{kind}_running{{id="{name}"}} {count}' for (of, name), count in running if of == kind]
    lines += [
        "# HELP snapshot_created_total total amount of snapshots created",
        "# TYPE snapshot_created_total counter",
    ]
    lines += [f'snapshot_created_total{{id="{name}"}} {count}' for name, count in sorted(node.created.items()) if name]
    return Bare("\n".join(lines) + "\n")
