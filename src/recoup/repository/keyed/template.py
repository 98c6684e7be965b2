"""Templates of keys: `{user_id}/snapshots/{collection}/{date}.snapshot`, checked when they are read, and read backwards.

A key has to tell the part and the second, so that no set ever writes over another one's artefact.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property

from recoup.errors import RecoupError
from recoup.model.names import SetName, checked_relative, shown
from recoup.model.structs import Struct

HOME = "_recoup"
"""Folder of all that is no artefact, below the template's fixed beginning."""

PART_FIELDS = ("part", "collection", "table", "database", "folder")
"""Names for what an artefact holds; all of them mean the same."""

_DATE = "%Y-%m-%dT%H-%M-%S"
_DIRECTIVES = {"Y": 4, "m": 2, "d": 2, "H": 2, "M": 2, "S": 2}
"""Those of strftime that a date may have, and how many digits they give."""

_FIELD = re.compile(r"\{([a-z][a-z0-9_]*)(?::([^{}]*))?\}")
_VALUE = re.compile(r"[^/\\{}\x00-\x1f\x7f]+")
_SUFFIX = r"(?P<suffix>(?:\.zst|\.gz)?(?:\.gpg|\.age)?)"
_OURS = (".zst", ".gz", ".gpg", ".age")
_ARCHIVES = (".tar", ".tar.gz", ".tar.zst")
_ORDINAL = r"(?:_(?P<ordinal>[2-9]|[1-9][0-9]{1,5}))?"
_OTHERS = {"source": r"(?P<source>[A-Za-z0-9][A-Za-z0-9_-]{0,63})", "part": r"(?P<part>[^/]+)"}


class Found(Struct):
    """What a key tells.

    Attributes:
        part: the collection, table, database or folder, as file names spell it.
        name: name of the set that would have this key: its time, and its number within the second.
        suffix: what compression and encryption put behind.
    """

    part: str
    name: SetName
    suffix: str


class _Piece(Struct):
    """A piece of a template: fixed text, or a field (`part`, `source`, `date`) with the format of a date."""

    text: str = ""
    field: str = ""
    format: str = ""


class Template(Struct):
    """A checked template; made by `parse`.

    Attributes:
        text: as it was written, its own fields filled in.
        pieces: fixed texts and fields, in order.
    """

    text: str
    pieces: tuple[_Piece, ...]

    @cached_property
    def lead(self) -> str:
        """The folder that all keys lie in; empty for the repository's own."""
        first = self.pieces[0].text
        return first.rpartition("/")[0]

    @cached_property
    def home(self) -> str:
        """The folder of manifests and of all that is no artefact."""
        return f"{self.lead}/{HOME}" if self.lead else HOME

    @cached_property
    def extension(self) -> str:
        """What the name of an artefact ends in, before compression and encryption: `.snapshot`, `.tar.gz`."""
        last = self.pieces[-1].text
        archive = next((ending for ending in reversed(_ARCHIVES) if last.endswith(ending)), "")
        return archive or f".{last.rpartition('.')[2]}"

    def key(self, source: str, part: str, name: SetName, suffix: str = "") -> str:
        """The key of an artefact.

        Args:
            source: whose.
            part: the collection, table, database or folder.
            name: of the set.
            suffix: of the compression.

        Raises:
            UnsafePathError: the part's name is no name of a file.
        """
        values = {"source": source, "part": part}
        dates = [number for number, piece in enumerate(self.pieces) if piece.field == "date"]
        key = ""
        for number, piece in enumerate(self.pieces):
            ordinal = f"_{name.ordinal}" if number == dates[-1] and name.ordinal > 1 else ""
            date = f"{name.time.astimezone(UTC):{piece.format}}{ordinal}" if piece.field == "date" else ""
            key += date or values.get(piece.field, piece.text)
        return checked_relative(key + suffix)

    def match(self, key: str) -> Found | None:
        """What a key tells; None for one that the template does not make."""
        found = self._pattern.fullmatch(key)
        if found is None or key.startswith(f"{self.home}/"):
            return None
        try:
            time = datetime(*(int(found[directive]) for directive in _DIRECTIVES), tzinfo=UTC)  # type: ignore[misc,arg-type]
        except ValueError:
            return None
        return Found(found["part"], SetName(time, int(found["ordinal"] or 1)), found["suffix"])

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        seen: set[str] = set()
        last = max(number for number, piece in enumerate(self.pieces) if piece.field == "date")
        pattern = ""
        for number, piece in enumerate(self.pieces):
            if piece.field == "date":
                pattern += _of_date(piece.format, seen) + (_ORDINAL if number == last else "")
            elif piece.field:
                pattern += f"(?P={piece.field})" if piece.field in seen else _OTHERS[piece.field]
                seen.add(piece.field)
            else:
                pattern += re.escape(piece.text)
        return re.compile(pattern + _SUFFIX)


def _of_date(format: str, seen: set[str]) -> str:  # noqa: A002 - strftime's word for it
    """The pattern of a date; a directive that was there before has to have the same digits again."""
    pattern = ""
    for text in re.split(r"(%.)", format):
        directive = text[1:] if text.startswith("%") else ""
        if not directive:
            pattern += re.escape(text)
        elif directive in seen:
            pattern += f"(?P={directive})"
        else:
            pattern += f"(?P<{directive}>[0-9]{{{_DIRECTIVES[directive]}}})"
            seen.add(directive)
    return pattern


def parse(text: str, fields: Mapping[str, str]) -> Template:
    """Reads a template.

    Args:
        text: fixed text with fields in braces: those of `fields`, `part` or another name for it, `source`, and `date`, which
            may have a format of strftime behind a colon.
        fields: names to what stands for them.

    Raises:
        ValueError: it could not tell two artefacts apart, or is no key; the message says what to change.
    """
    _check_fields(text, fields)
    filled = _FIELD.sub(lambda found: fields.get(found[1], found[0]), text)
    template = Template(filled, tuple(_joined(_pieces(filled))))
    _check_pieces(template)
    _check_dates(template)
    _check_ending(template)
    _check_key(template)
    return template


def _check_fields(text: str, fields: Mapping[str, str]) -> None:
    reserved = {*PART_FIELDS, "source", "date"}
    used = {found[1] for found in _FIELD.finditer(text)}
    for name, value in fields.items():
        if name in reserved:
            raise ValueError(f"the field `{name}` has a meaning of its own; give yours another name")
        if not _VALUE.fullmatch(value):
            raise ValueError(f"the field `{name}` has a value that cannot be part of a key: {shown(value)!r}")
        if name not in used:
            raise ValueError(f"the field `{name}` is given, and no {{{name}}} is in '{text}'")
    if unknown := sorted(used - reserved - set(fields)):
        known = ", ".join(sorted({*reserved, *fields}))
        raise ValueError(
            f"'{text}' has the unknown field {{{unknown[0]}}}; there are {known}, and those given in `fields`"
        )
    if len(chosen := sorted(used & set(PART_FIELDS))) != 1:
        what = f"both {{{chosen[0]}}} and {{{chosen[1]}}}, which mean the same" if chosen else "no {collection}"
        raise ValueError(
            f"'{text}' has {what}: each collection, table, database or folder needs a key of its own; "
            f"use one of {', '.join(PART_FIELDS)}"
        )


def _pieces(text: str) -> Iterator[_Piece]:
    position = 0
    for found in _FIELD.finditer(text):
        if found.start() > position:
            yield _Piece(text[position : found.start()])
        field = "part" if found[1] in PART_FIELDS else found[1]
        if found[2] is not None and field != "date":
            raise ValueError(f"only {{date}} takes a format: '{found[0]}'")
        yield _Piece(field=field, format=(found[2] or _DATE) if field == "date" else "")
        position = found.end()
    if position < len(text):
        yield _Piece(text[position:])


def _joined(pieces: Iterator[_Piece]) -> Iterator[_Piece]:
    """The pieces, beginning with fixed text, which may be empty."""
    first = next(pieces)
    if first.field:
        yield _Piece()
    yield first
    yield from pieces


def _check_pieces(template: Template) -> None:
    for piece in template.pieces:
        if "{" in piece.text or "}" in piece.text:
            raise ValueError(f"'{template.text}' has a brace that belongs to no field")
    for one, other in zip(template.pieces, template.pieces[1:], strict=False):
        if one.field and other.field:
            raise ValueError(
                f"'{template.text}' has two fields with nothing between them, so two artefacts could get one key"
            )


def _check_dates(template: Template) -> None:
    formats = [piece.format for piece in template.pieces if piece.field == "date"]
    found = {directive for one in formats for directive in re.findall(r"%(.?)", one)}
    if unknown := sorted(found - set(_DIRECTIVES)):
        known = ", ".join(f"%{directive}" for directive in _DIRECTIVES)
        raise ValueError(f"'{template.text}' has a date with %{unknown[0]}; a date may have {known}")
    if missing := [f"%{directive}" for directive in _DIRECTIVES if directive not in found]:
        what = f"its date lacks {', '.join(missing)}" if formats else "it has no {date}"
        raise ValueError(f"'{template.text}' would give two sets one key: {what}")


def _check_ending(template: Template) -> None:
    last = template.pieces[-1].text
    if not re.search(r"\.[A-Za-z0-9]+\Z", last) or "/" in last[last.rfind(".") :]:
        raise ValueError(f"'{template.text}' has to end in what its files are, as .snapshot or .dump")
    if template.extension.endswith(_OURS) and template.extension not in _ARCHIVES:
        raise ValueError(
            f"'{template.text}' ends in {template.extension}; what compression and encryption put behind comes by itself"
        )


def _check_key(template: Template) -> None:
    try:
        sample = template.key("source", "part", SetName(datetime(2026, 11, 21, 2, 0, 0, tzinfo=UTC)))
    except RecoupError as error:
        raise ValueError(f"'{template.text}' makes no key: {error.message}") from None
    if not re.fullmatch(r"[^\\\x00-\x1f\x7f]+", sample):
        raise ValueError(f"'{template.text}' has a backslash or a control character")
    if HOME in sample.split("/"):
        raise ValueError(f"'{template.text}' has the folder {HOME}, which is Recoup's own")
