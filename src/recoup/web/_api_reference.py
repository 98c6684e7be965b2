"""The reference of the REST interface as Markdown, made from its document: `docs/reference/rest.md`."""

from collections.abc import Iterator
from typing import Any

from recoup.web._api_answers import WRONG
from recoup.web._api_document import Field, Operation, Value, operations, values

_INTRODUCTION = """\
# REST

This page is made from the code; `recoup web` serves the same at `/api`, and the OpenAPI 3.1 document at `/api/v1/openapi.json`.
[The web page](../howto/web.md#rest) says how a program signs in.
"""


def reference(made: dict[str, Any]) -> str:
    """The page.

    Args:
        made: the OpenAPI document.
    """
    lines = [_INTRODUCTION, made["info"]["description"], ""]
    lines += ["| Problem | |", "| --- | --- |", *(_row(str(status), text) for status, text in WRONG.items()), ""]
    for group, those in operations(made).items():
        lines += [f"## {group}", ""]
        for one in those:
            lines += _operation(one)
    lines += ["## Values", "", "What answers have. A key that may be null is there all the same.", ""]
    for value in values(made):
        lines += _value(value)
    return "\n".join(lines).rstrip() + "\n"


def _operation(one: Operation) -> Iterator[str]:
    yield from (f"### {one.summary}", "", f"    {one.method} {one.path}", "")
    if one.text:
        yield from (one.text, "")
    if one.parameters:
        yield from ("| Parameter | In | | |", "| --- | --- | --- | --- |")
        yield from (_row(f"`{field.name}`", field.where, _kind(field), field.text) for field in one.parameters)
        yield ""
    if one.body:
        yield from ("| Key of the body | | |", "| --- | --- | --- |")
        yield from (_row(f"`{field.name}`", _kind(field), field.text) for field in one.body)
        yield ""
    for answer in one.answers:
        refers = ", ".join(f"[{name}](#{name.lower()})" for name in answer.refers) or f"`{answer.media_type}`"
        yield f"{answer.status} {refers}: {answer.text}"
        yield ""
    yield f"Problems: {', '.join(one.problems)}."
    yield ""


def _value(value: Value) -> Iterator[str]:
    yield from (f"### {value.name}", "", value.text, "", "| Key | | |", "| --- | --- | --- |")
    yield from (_row(f"`{field.name}`", _kind(field), field.text) for field in value.fields)
    yield ""


def _kind(field: Field) -> str:
    return field.kind if field.required or not field.where else f"{field.kind}, optional"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
