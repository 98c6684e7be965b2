"""What a kind of source can be asked for at a restore, as fields of a form."""

from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from recoup.errors import ConfigError
from recoup.model.structs import Struct
from recoup.system.plugs import load

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

Shape = Literal["switch", "choice", "number", "text"]
"""How it is asked for: a box to tick, one of some words, a number, or a text."""


class Control(Struct):
    """One option of a plug.

    Attributes:
        key: its name.
        shape: see `Shape`.
        help: what it does, as its plug describes it.
        choices: the words, of a choice.
        default: what counts where nothing is said, as text; empty where the plug decides.
    """

    key: str
    shape: Shape
    help: str
    choices: tuple[str, ...] = ()
    default: str = ""


def controls(kind: str) -> tuple[Control, ...]:
    """The restore options of a kind of source. None of them is a path: no path comes from a browser.

    Args:
        kind: as a manifest says it; an unknown one has no options.
    """
    try:
        model: type[BaseModel] | None = getattr(load("recoup.sources", kind), "RestoreOptions", None)
    except (ConfigError, ImportError):  # of another version, or of an extra that is not installed
        return ()
    fields = model.model_fields if model else {}
    found = (_control(key, field) for key, field in fields.items())
    return tuple(control for control in found if control is not None)


def _control(key: str, field: "FieldInfo") -> Control | None:
    kind, help_ = _bare(field.annotation), " ".join((field.description or "").split())
    if kind is Path:
        return None
    if get_origin(kind) is Literal:
        return Control(key, "choice", help_, tuple(map(str, get_args(kind))), _text(field.default))
    if kind is bool:
        return Control(key, "switch", help_)
    shape: Shape = "number" if kind in (int, float) else "text"
    return Control(key, shape, help_, default=_text(field.default))


def _bare(annotation: Any) -> Any:
    """A type without `None` and without what validates it."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _bare(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return _bare(next(one for one in get_args(annotation) if one is not type(None)))
    return annotation


def _text(default: Any) -> str:
    return f"{default:g}" if isinstance(default, float) else default if isinstance(default, str) else ""
