import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoup.errors import StorageError, UnsafePathError
from recoup.storage._object_keys import Keys, escaped, unescaped

file_names = st.one_of(
    st.binary(min_size=1, max_size=30).map(lambda name: name.decode("utf-8", "surrogateescape")),
    st.text(min_size=1, max_size=30),
    st.text("%250AFC\\\n\x7f", min_size=1, max_size=20),
)


@given(file_names)
def test_every_name_comes_back_as_it_was(name: str) -> None:
    assert unescaped(escaped(name)) == name


@given(st.text("%250AFC5Cxé/ ", max_size=30))
def test_names_that_other_programs_made_are_found_under_their_own(stored: str) -> None:
    assert escaped(unescaped(stored)) == stored


@given(file_names)
def test_what_is_stored_has_no_character_that_a_listing_cannot_hold(name: str) -> None:
    stored = escaped(name)
    stored.encode("utf-8")
    assert not any(ord(character) < 32 or character in "\\\x7f\ufffe\uffff" for character in stored)


@pytest.mark.parametrize("name", ["plain/file.txt", "ä/ö", "a b", "100%", "50%/x", "a%20b", "#?&'\"~"])
def test_usual_names_stay_as_they_are(name: str) -> None:
    assert escaped(name) == name


def test_names_that_would_be_mistaken_are_told_apart() -> None:
    assert len({escaped("a\nb"), escaped("a%0Ab"), escaped("a%250Ab"), escaped("a%25250Ab")}) == 4


def test_a_prefix_stands_before_every_key_and_is_taken_off_again() -> None:
    keys = Keys("team/backups")
    assert keys.stored("a/b") == "team/backups/a/b"
    assert keys.key("team/backups/a/b") == "a/b"
    assert keys.below("") == "team/backups"
    assert Keys("").below("") == ""


def test_a_key_that_no_store_takes_is_refused_with_a_way_out() -> None:
    with pytest.raises(StorageError) as caught:
        Keys("prefix").stored("ä" * 600)
    assert "1024 bytes" in caught.value.message
    assert "pack" in caught.value.hint


def test_a_key_that_leads_elsewhere_is_refused() -> None:
    with pytest.raises(UnsafePathError):
        Keys("prefix").stored("../other")
