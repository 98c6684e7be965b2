"""The OpenAPI document of the REST interface, made from its routes, and the same as values for pages that people read."""

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute

from recoup.model.structs import Struct
from recoup.web._api_answers import KINDS
from recoup.web._api_schemas import Schemas

_ABOUT = """\
The values are those that the command line prints with `--json`. Keys may be added, but none is renamed or removed without a new
major version, or another prefix. Times are UTC, sizes are bytes.

What works on data begins a job: the answer is 202 with the job, and its results are what the command prints. One job at a time
works on a stack; a second one gets 409.

What goes wrong is an `application/problem+json` (RFC 9457) with `type`, `title`, `status` and `detail`, with `hint` where
something can be done about it, and with `exit_code`, that of the command line, where it is an error of ours."""

_PROBLEM = {
    "type": "object",
    "description": "What went wrong (RFC 9457).",
    "properties": {
        "type": {
            "type": "string",
            "description": "A link to what is said of this kind; `about:blank` for no special one.",
        },
        "title": {"type": "string", "description": "In a few words; the same for the same kind."},
        "status": {"type": "integer", "description": "Of the answer."},
        "detail": {"type": "string", "description": "What happened, to what."},
        "hint": {"type": "string", "description": "What to do."},
        "exit_code": {"type": "integer", "description": "What the command line would have returned."},
    },
    "required": ["type", "title", "status", "detail"],
}

_SECURITY = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of the configuration, `web.operator.token` or `web.reader.token`. It is all a program needs.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "recoup-STACK",
        "description": "The cookie of a browser's session, which signs in on the page; where nobody has to sign in, every answer "
        "brings one.",
    },
    "csrf": {
        "type": "apiKey",
        "in": "header",
        "name": "X-CSRF-Token",
        "description": "With a session's cookie, each change needs the token that `GET /api/v1/session` tells.",
    },
}


class Field(Struct):
    """A parameter, or a key of a value.

    Attributes:
        name: its name.
        kind: what it may be, in words.
        refers: names of the values that it has.
        where: `path`, `query` or `header`; empty for a key.
        required: whether it has to be there.
        text: what it means.
    """

    name: str
    kind: str
    refers: tuple[str, ...]
    where: str
    required: bool
    text: str


class Answer(Struct):
    """One of an operation's answers.

    Attributes:
        status: of the answer.
        text: what it is.
        media_type: of its content.
        refers: names of the values that it has.
    """

    status: str
    text: str
    media_type: str
    refers: tuple[str, ...]


class Operation(Struct):
    """One thing that can be asked for.

    Attributes:
        id: its name.
        method: of HTTP.
        path: with the parameters in braces.
        summary: in a few words.
        text: what else there is to say.
        parameters: of path, query and header.
        body: keys of the JSON that is sent; none where nothing is.
        answers: what comes back when all goes well.
        problems: statuses of what may go wrong.
    """

    id: str
    method: str
    path: str
    summary: str
    text: str
    parameters: tuple[Field, ...]
    body: tuple[Field, ...]
    answers: tuple[Answer, ...]
    problems: tuple[str, ...]


class Value(Struct):
    """A kind of value that answers have.

    Attributes:
        name: its name.
        text: what it is.
        fields: its keys.
    """

    name: str
    text: str
    fields: tuple[Field, ...]


def document(routes: Sequence[BaseRoute], prefix: str = "") -> dict[str, Any]:
    """The OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.0).

    Args:
        routes: of the interface.
        prefix: in front of its paths, behind a proxy.
    """
    made = get_openapi(
        title="Recoup",
        version=version("recoup"),
        openapi_version="3.1.0",
        summary="Backup and proven recovery for RAG stacks.",
        description=_ABOUT,
        routes=routes,
        servers=[{"url": prefix or "/"}],
    )
    components = made.setdefault("components", {})
    components["schemas"] = {**_own(components.get("schemas", {})), **_schemas()}
    components["securitySchemes"] = _SECURITY
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            operation["security"] = _needs(changes=method != "get", path=path)
            operation["responses"].pop("422", None)  # what is not understood is 400 here
    return made


def _own(schemas: Mapping[str, Any]) -> dict[str, Any]:
    """The bodies of requests; not how FastAPI would tell that one is wrong."""
    return {name: schema for name, schema in schemas.items() if name not in ("HTTPValidationError", "ValidationError")}


def _schemas() -> dict[str, Any]:
    schemas = Schemas()
    for kind in KINDS.values():
        schemas.of(kind)
    return {"ProblemDetails": _PROBLEM, **dict(sorted(schemas.components.items()))}


def _needs(*, changes: bool, path: str) -> list[dict[str, list[str]]]:
    by_session: dict[str, list[str]] = {"session": [], "csrf": []} if changes else {"session": []}
    return [by_session] if path.endswith("/session") else [{"token": []}, by_session]


# --- the same for people ------------------------------------------------------------------------------------------------


def operations(made: Mapping[str, Any]) -> dict[str, list[Operation]]:
    """The operations by their group.

    Args:
        made: the document.
    """
    found: dict[str, list[Operation]] = {}
    for path, methods in made["paths"].items():
        for method, one in methods.items():
            found.setdefault(one["tags"][0], []).append(_operation(made, path, method, one))
    return found


def values(made: Mapping[str, Any]) -> list[Value]:
    """The kinds of values that answers have, by name."""
    schemas = made["components"]["schemas"]
    sent = {name for _, _, one in _each(made) for name in _refers(one.get("requestBody", {}))}
    return [
        Value(name, schema.get("description", ""), _fields(schema))
        for name, schema in schemas.items()
        if name not in sent
    ]


def _each(made: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, methods in made["paths"].items():
        for method, one in methods.items():
            yield path, method, one


def _operation(made: Mapping[str, Any], path: str, method: str, one: Mapping[str, Any]) -> Operation:
    body = _refers(one.get("requestBody", {}))
    return Operation(
        one["operationId"],
        method.upper(),
        path,
        one["summary"],
        " ".join(one.get("description", "").split()),
        tuple(map(_parameter, one.get("parameters", ()))),
        _fields(made["components"]["schemas"][body[0]]) if body else (),
        tuple(_answer(status, said) for status, said in one["responses"].items() if status.startswith("2")),
        tuple(status for status in one["responses"] if status.startswith("4")),
    )


def _parameter(given: Mapping[str, Any]) -> Field:
    schema = given["schema"]
    text = given.get("description", schema.get("description", ""))
    return Field(given["name"], _words(schema), _refers(schema), given["in"], bool(given.get("required")), text)


def _answer(status: str, said: Mapping[str, Any]) -> Answer:
    media_type, content = next(iter(said.get("content", {}).items()), ("", {}))
    return Answer(status, said["description"], media_type, _refers(content))


def _fields(schema: Mapping[str, Any]) -> tuple[Field, ...]:
    required = schema.get("required", ())
    return tuple(
        Field(name, _words(one), _refers(one), "", name in required, one.get("description", ""))
        for name, one in schema.get("properties", {}).items()
    )


def _refers(schema: Any) -> tuple[str, ...]:
    """The names of the values that a schema refers to."""
    if isinstance(schema, Mapping):
        own = (str(schema["$ref"]).rpartition("/")[2],) if "$ref" in schema else ()
        return tuple(dict.fromkeys((*own, *(name for one in schema.values() for name in _refers(one)))))
    if isinstance(schema, list):
        return tuple(dict.fromkeys(name for one in schema for name in _refers(one)))
    return ()


_PHRASES = {"integer": "whole number", "string": "text", "boolean": "true or false", "null": "null", "object": "object"}


def _words(schema: Mapping[str, Any]) -> str:
    """What a value may be, in words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(map(_words, schema["anyOf"])))
    if "enum" in schema or "const" in schema:
        return ", ".join(str(one) for one in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type", "")
    if kind == "array":
        return f"list of {_words(schema.get('items', {}))}" if "items" in schema else "list"
    if kind == "object" and isinstance(below := schema.get("additionalProperties"), Mapping) and below:
        return f"object of {_words(below)}"
    if schema.get("format") == "date-time":
        return "time"
    return _PHRASES.get(kind, kind or "anything")
