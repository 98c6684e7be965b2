"""What a Dockerfile and a compose file say, as far as the tests ask."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
CONTAINER = ROOT / "deploy/container"


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile.

    Attributes:
        word: `FROM`, `COPY`, ...
        text: what follows, on one line.
    """

    word: str
    text: str


@dataclass(frozen=True)
class Image:
    """What the last stage of a Dockerfile makes.

    Attributes:
        entry: entry point.
        command: what follows it, where nothing else is asked for.
        health: the health check's program and arguments.
        environ: variables that are set.
        user: who runs it.
    """

    entry: list[str]
    command: list[str]
    health: list[str]
    environ: Mapping[str, str] = field(default_factory=dict)
    user: str = "root"


def instructions(text: str) -> Iterator[Instruction]:
    """The instructions, in order; comments are left out, continued lines joined."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n\s*", "", lines).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield Instruction(word.upper(), rest.strip())


def stages(text: str) -> list[list[Instruction]]:
    """The instructions of each stage, each beginning with its FROM."""
    found: list[list[Instruction]] = []
    for one in instructions(text):
        if one.word == "FROM":
            found.append([])
        found[-1].append(one)
    return found


def image(text: str) -> Image:
    """The image of a Dockerfile."""
    last = stages(text)[-1]
    said = {one.word: one.text for one in last}
    health = said["HEALTHCHECK"]
    environ = dict(part.split("=", 1) for one in last if one.word == "ENV" for part in shlex.split(one.text))
    return Image(
        json.loads(said["ENTRYPOINT"]),
        json.loads(said["CMD"]),
        json.loads(health[health.index("CMD ") + 4 :]),
        environ,
        said["USER"],
    )


def compose(path: Path) -> dict[str, Any]:
    """A compose file."""
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def mounts(service: Mapping[str, Any]) -> dict[str, tuple[str, bool]]:
    """Place in the container to what is there, and whether it can only be read."""
    found = {}
    for text in service["volumes"]:
        source, target, *mode = text.split(":")
        found[target] = (source, mode == ["ro"])
    return found
