"""`recoup config`: the configuration, looked at."""

import os
from pathlib import Path
from typing import Annotated

import typer

from recoup.cli._session import session, verb
from recoup.errors import ExitCode
from recoup.model import figures

app = typer.Typer(add_completion=False, help="Check, show, sample or describe the configuration.")


@app.command()
@verb
def check(context: typer.Context) -> ExitCode:
    """Read the configuration and say what is wrong with it."""

    now = session(context)
    stack = now.stack
    places = len(stack.settings.repositories)
    now.result("config", {"ok": True, "sources": stack.source_names, "warnings": stack.warnings})
    now.show(
        f"The configuration is right: {figures.counted(len(stack.source_names), 'source')}, "
        f"{places} {'repository' if places == 1 else 'repositories'}."
    )
    return ExitCode.OK


@app.command()
@verb
def show(context: typer.Context) -> ExitCode:
    """Print the effective configuration with the origin of each value; secrets as ***."""
    from recoup.config import explain, loading

    now = session(context)
    loaded = loading.load(now.config, now.overrides, os.environ, Path.cwd())
    if now.json:
        now.result("config", explain.effective_values(loaded))
    else:
        now.write(explain.effective(loaded))
    return ExitCode.OK


@app.command()
@verb
def sample(context: typer.Context) -> ExitCode:
    """Print a commented sample with every key."""
    from recoup.config.sample import sample as text

    session(context).write(text())
    return ExitCode.OK


@app.command()
@verb
def schema(
    context: typer.Context,
    manifest: Annotated[bool, typer.Option("--manifest", help="That of manifest.json instead.")] = False,
    collection: Annotated[
        bool, typer.Option("--collection", help="That of a Qdrant collection's collection.json instead.")
    ] = False,
) -> ExitCode:
    """Print the JSON schema of recoup.yaml, for editors."""
    import json

    if manifest:
        from recoup.model.manifest import schema as manifest_schema

        text = json.dumps(manifest_schema(), indent=1)
    elif collection:
        from recoup.sources.qdrant._record import schema as collection_schema

        text = json.dumps(collection_schema(), indent=1)
    else:
        from recoup.config.schema import schema as config_schema

        text = json.dumps(config_schema(), indent=1)
    session(context).write(text + "\n")
    return ExitCode.OK
