"""`recoup qdrant`: snapshots of Qdrant collections, looked into without a server, and put on one."""

import typer

from recoup.cli._qdrant_extracting import extract
from recoup.cli._qdrant_looking import count, get, inspect, scroll, search
from recoup.cli._qdrant_servers import cleanup, restore, rollback

app = typer.Typer(
    add_completion=False, help="Look into snapshots of Qdrant without a server, and put collections on one."
)

for _function in (inspect, count, scroll, get, search, extract, restore, rollback, cleanup):
    app.command(_function.__name__)(_function)
