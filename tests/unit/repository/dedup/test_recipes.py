import contextlib
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoup.errors import DamagedError
from recoup.repository.dedup.keys import new_keys
from recoup.repository.dedup.recipes import Recipe, RecipeBuilder, Root, Span, decode, encode, seal, unseal

KEY = bytes(range(32))
RUNS = [bytes([number]) * 12 for number in range(1, 5)]

spans = st.one_of(
    st.builds(Span, st.just(b""), st.just(0), st.integers(1, 2**60)),
    st.builds(Span, st.sampled_from(RUNS), st.integers(0, 2**31), st.integers(1, 2**31)),
)
recipe_values = st.builds(
    Recipe, st.integers(0, 2**63), st.binary(min_size=32, max_size=32), st.lists(spans, max_size=20).map(tuple)
)
names = st.text(st.characters(codec="utf-8"), max_size=40)


@given(st.dictionaries(names, recipe_values, max_size=6))
def test_recipes_come_back_as_they_were(recipes: dict[str, Recipe]) -> None:
    assert decode(encode(recipes), "recipes") == recipes


@given(st.dictionaries(names, recipe_values, min_size=1, max_size=3), st.data())
def test_what_is_cut_or_changed_is_refused_or_read_as_recipes(recipes: dict[str, Recipe], data: st.DataObject) -> None:
    whole = encode(recipes)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(DamagedError):
        decode(cut, "recipes")
    changed = bytearray(whole)
    changed[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(DamagedError):
        decode(bytes(changed), "recipes")


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_read(data: bytes) -> None:
    try:
        decode(data, "recipes")
    except DamagedError as error:
        assert "recipes" in error.message


def test_consecutive_chunks_are_one_span_and_neighbouring_gaps_one_gap() -> None:
    builder = RecipeBuilder(Root(KEY))
    for number in (5, 6, 7):
        builder.chunk(RUNS[0], number, secrets.token_bytes(32), 10)
    builder.gap(4096)
    builder.gap(4096)
    builder.chunk(RUNS[0], 8, secrets.token_bytes(32), 1)
    builder.chunk(RUNS[1], 9, secrets.token_bytes(32), 1)
    recipe = builder.finish()
    assert recipe.spans == (
        Span(RUNS[0], 5, 3),
        Span(b"", 0, 8192),
        Span(RUNS[0], 8, 1),
        Span(RUNS[1], 9, 1),
    )
    assert recipe.size == 30 + 8192 + 2


def test_a_root_tells_order_length_and_gaps_apart() -> None:
    one, two = bytes(32), bytes([1]) * 32

    def root(*pieces: tuple[bytes, int] | int) -> bytes:
        made = Root(KEY)
        for piece in pieces:
            made.gap(piece) if isinstance(piece, int) else made.chunk(*piece)
        return made.digest()

    different = [
        root((one, 1), (two, 1)),
        root((two, 1), (one, 1)),
        root((one, 1), (two, 2)),
        root((one, 1), 4, (two, 1)),
    ]
    assert len(set(different)) == 4
    assert root((one, 1), 4, 4) == root((one, 1), 8)


def test_sealed_recipes_open_by_their_run_for_their_set_alone() -> None:
    keys = new_keys("ab" * 16)
    key = keys.new_run()
    recipes = {"db/main.db": Recipe(3, bytes(32), (Span(RUNS[0], 0, 1),))}
    sealed = seal(recipes, key, b"run and repository")
    assert unseal(sealed, key, b"run and repository", "recipes") == recipes
    for wrong in (sealed[:-1], b"RCPRCPE2" + sealed[8:], sealed[:-1] + bytes([sealed[-1] ^ 1])):
        with pytest.raises(DamagedError):
            unseal(wrong, key, b"run and repository", "recipes")
    with pytest.raises(DamagedError):
        unseal(sealed, key, b"another repository", "recipes")
    with pytest.raises(DamagedError):
        unseal(sealed, keys.new_run(), b"run and repository", "recipes")


def test_a_set_refers_to_more_runs_than_sixteen_bits_count() -> None:
    """A backup every five minutes has made as many after 228 days."""
    spans = tuple(Span(number.to_bytes(12, "big"), 0, 1) for number in range(1, 70_001))
    recipes = {"db": Recipe(70_000, bytes(32), spans)}
    assert decode(encode(recipes), "recipes") == recipes
