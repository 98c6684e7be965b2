"""Structs behave as frozen dataclasses do, and are finished when the first value is made."""

import copy
import dataclasses
import pickle
import subprocess
import sys
import threading
from dataclasses import FrozenInstanceError, dataclass, field, fields, is_dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoup.model.sharing import Reclaim
from recoup.model.structs import Struct


class Shelf(Struct):
    room: str
    books: tuple[str, ...] = ()
    secret: str = field(default="", repr=False)
    seen: int = field(default=0, compare=False)
    notes: dict[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not self.room:
            raise ValueError("a shelf stands in a room")


@dataclass(frozen=True)
class Usual:
    room: str
    books: tuple[str, ...] = ()
    secret: str = field(default="", repr=False)
    seen: int = field(default=0, compare=False)
    notes: dict[str, str] = field(default_factory=dict, hash=False)


ARGUMENTS = st.fixed_dictionaries(
    {"room": st.sampled_from(["hall", "attic"])},
    optional={
        "books": st.lists(st.sampled_from(["a", "b"]), max_size=2).map(tuple),
        "secret": st.sampled_from(["", "x"]),
        "seen": st.integers(0, 1),
        "notes": st.dictionaries(st.sampled_from(["k"]), st.sampled_from(["v", "w"])),
    },
)


@given(ARGUMENTS, ARGUMENTS)
def test_a_struct_is_made_compared_hashed_and_shown_as_a_frozen_dataclass(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    ours, theirs = Shelf(**one), Usual(**one)
    assert (ours == Shelf(**other)) == (theirs == Usual(**other))
    assert hash(ours) == hash(theirs)
    assert repr(ours).replace("Shelf", "Usual") == repr(theirs)
    assert dataclasses.asdict(ours) == dataclasses.asdict(theirs)
    assert copy.copy(ours) == replace(ours) == pickle.loads(pickle.dumps(ours)) == ours
    assert ours != theirs


def test_a_struct_is_not_changed() -> None:
    shelf = Shelf("hall")
    for name in ("room", "unknown"):
        with pytest.raises(FrozenInstanceError, match=name):
            setattr(shelf, name, "attic")
        with pytest.raises(FrozenInstanceError, match=name):
            delattr(shelf, name)
    assert shelf == Shelf("hall")


@pytest.mark.parametrize("arguments", [(), ("hall", (), "", 0, {}, 1)], ids=["too few", "too many"])
def test_the_first_value_already_needs_the_right_arguments(arguments: tuple[Any, ...]) -> None:
    class Fresh(Struct):
        room: str
        books: tuple[str, ...] = ()
        secret: str = ""
        seen: int = 0
        notes: dict[str, str] = field(default_factory=dict)

    with pytest.raises(TypeError, match="argument"):
        Fresh(*arguments)
    with pytest.raises(ValueError, match="stands in a room"):
        Shelf("")


def test_a_class_of_which_there_is_no_value_has_no_constructor_yet_and_yet_all_its_fields() -> None:
    class Fresh(Struct):
        room: str
        seen: int = 0

    assert "__init__" not in vars(Fresh)
    assert [one.name for one in fields(Fresh)] == ["room", "seen"]
    assert is_dataclass(Fresh)
    assert not is_dataclass(Struct)


@pytest.mark.parametrize("first", [True, False], ids=["of a class that has values", "of one that has none"])
def test_who_inherits_fields_has_a_constructor_of_its_own(*, first: bool) -> None:
    class Above(Struct):
        room: str

    if first:
        Above("hall")

    class Below(Above):
        seen: int = 0

    @dataclass(frozen=True)
    class Decorated:
        room: str

    class Mixed(Decorated, Struct):
        seen: int = 0

    assert (Below("hall", 2).room, Below("hall", 2).seen) == ("hall", 2)
    assert (Mixed("hall", 2).room, Mixed("hall", 2).seen) == ("hall", 2)
    assert Above("hall") == Above("hall") != Below("hall")
    with pytest.raises(TypeError, match="argument"):
        Above("hall", 2)  # type: ignore[call-arg] # that is what is refused


def test_threads_that_make_the_first_values_at_once_all_get_right_ones() -> None:
    for _ in range(50):

        class Fresh(Struct):
            room: str
            seen: int = 0

        made: list[Fresh] = []
        start = threading.Barrier(4)

        def work(start: threading.Barrier = start, made: list[Fresh] = made, kind: type[Fresh] = Fresh) -> None:
            start.wait()
            made.append(kind("hall", 1))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({*made}) == 1
        assert len(made) == 4


def test_what_another_process_pickled_is_equal_to_what_is_made_here() -> None:
    code = (
        "import pickle, sys; value = pickle.loads(sys.stdin.buffer.read()); again = type(value)(1, 2, 3, 4.0); "
        "print(value == again, hash(value) == hash(again), value)"
    )
    value = Reclaim(1, 2, 3, 4.0)
    told = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(value), capture_output=True, check=True)
    assert told.stdout.decode().strip() == f"True True {value!r}"
