"""Settings of Qdrant servers: where a key may go."""

import pytest
from pydantic import SecretStr

from recoup.sources.qdrant._options import KEY, Options

_OWN = Options(
    kind="qdrant", url="http://127.0.0.1:6333", api_key=SecretStr("own-key"), nodes=("http://127.0.0.2:6333",)
)


def test_no_key_and_no_node_of_the_present_server_goes_to_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY, raising=False)
    moved = _OWN.moved("http://10.0.0.7:6333")
    assert moved.url == "http://10.0.0.7:6333"
    assert moved.key == ""
    assert moved.nodes == ()


def test_the_key_of_another_server_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "its-key")
    assert _OWN.moved("http://10.0.0.7:6333").key == "its-key"


def test_the_same_server_by_another_path_keeps_its_key() -> None:
    assert _OWN.moved("http://127.0.0.1:6333/").key == "own-key"
