"""What a person may write as a filter, an id or a vector."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoup.cli import _qdrant_filters as filters
from recoup.errors import UsageError

SIMPLE: dict[str, dict[str, Any]] = {
    "kind=page": {"must": [{"key": "kind", "match": {"value": "page"}}]},
    "kind = page": {"must": [{"key": "kind", "match": {"value": "page"}}]},
    "n=5": {"must": [{"key": "n", "match": {"value": 5}}]},
    'n="5"': {"must": [{"key": "n", "match": {"value": "5"}}]},
    "done=true": {"must": [{"key": "done", "match": {"value": True}}]},
    "score=0.5": {"must": [{"key": "score", "range": {"gte": 0.5, "lte": 0.5}}]},
    "kind!=page": {"must_not": [{"key": "kind", "match": {"value": "page"}}]},
    "n<5": {"must": [{"key": "n", "range": {"lt": 5}}]},
    "n>=5.5": {"must": [{"key": "n", "range": {"gte": 5.5}}]},
    "at>=2026-11-01T00:00:00Z": {"must": [{"key": "at", "range": {"gte": "2026-11-01T00:00:00Z"}}]},
    "a.b[].c=x=y": {"must": [{"key": "a.b[].c", "match": {"value": "x=y"}}]},
    "kind=": {"must": [{"key": "kind", "match": {"value": ""}}]},
    "kind=NaN": {"must": [{"key": "kind", "match": {"value": "NaN"}}]},
    "kind=[1]": {"must": [{"key": "kind", "match": {"value": "[1]"}}]},
}


@pytest.mark.parametrize("text", SIMPLE)
def test_a_simple_filter_becomes_one_of_qdrants(text: str) -> None:
    assert filters.parsed([text]) == SIMPLE[text]


def test_several_filters_have_all_to_be_met() -> None:
    own = {"should": [{"has_id": [1, 2]}]}
    assert filters.parsed(["kind=page", json.dumps(own)]) == {
        "must": [{"must": [{"key": "kind", "match": {"value": "page"}}]}, own]
    }
    assert filters.parsed([]) is None
    assert filters.parsed([json.dumps(own)]) == own


@pytest.mark.parametrize("text", ["", "kind", "=5", "{", "{}}", "[1]", "n<", "n>true", "{" * 100_000])
def test_what_is_no_filter_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError) as told:
        filters.parsed([text])
    assert "key=value" in told.value.hint


@given(st.text())
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    try:
        found = filters.parsed([text])
    except UsageError:
        return
    assert isinstance(found, dict)
    json.dumps(found, allow_nan="NaN" in text)


def test_ids_are_numbers_and_uuids() -> None:
    uuid = "936DA01F9ABD4D9D80C702AF85C822A8"
    assert filters.ids(["1,2 3", uuid]) == [1, 2, 3, "936da01f-9abd-4d9d-80c7-02af85c822a8"]
    for wrong in ("-1", "x", str(2**64), "1.5"):
        with pytest.raises(UsageError):
            filters.ids([wrong])


def test_a_vector_is_dense_multiple_or_sparse() -> None:
    for good in ([1, 2.5], [[1.0], [2.0]], {"indices": [1], "values": [0.5]}):
        assert filters.vector(json.dumps(good)) == good
    for wrong in ("", "1", "[]", "{}", '"x"', "[1"):
        with pytest.raises(UsageError):
            filters.vector(wrong)
