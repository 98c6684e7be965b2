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
    """What concerns snapshots."""
    names = sorted({*node.meta.collections, *node.created, *(name for _, name in [*node.running])})
    lines = [
        *("# HELP app_info information about qdrant server", "# TYPE app_info gauge"),
        f'app_info{{name="qdrant",version="{node.settings.version}"}} 1',
    ]
    for kind, words in (
        ("creation", "amount of snapshot creations that are currently running"),
        ("recovery", "amount of snapshot recovery operations currently running"),
    ):
        lines += [f"# HELP snapshot_{kind}_running {words}", f"# TYPE snapshot_{kind}_running gauge"]
        lines += [f'snapshot_{kind}_running{{id="{name}"}} {node.running[kind, name]}' for name in names]
    lines += [
        "# HELP snapshot_created_total total amount of snapshots created",
        "# TYPE snapshot_created_total counter",
    ]
    lines += [f'snapshot_created_total{{id="{name}"}} {node.created[name]}' for name in names]
    return Bare("\n".join(lines) + "\n")
