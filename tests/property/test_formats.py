"""Formats take anything: they give back what was written, or a typed error, and never a traceback."""

import contextlib
import gzip
import json
import string
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from recoup.errors import DamagedError, RecoupError, RefusedError, UnsafePathError
from recoup.model.facts import Facts, Probe, compare
from recoup.model.manifest import StoredPart, decode, encode
from recoup.model.names import SetName, checked_relative, shown
from recoup.model.part import Attributes, Member
from recoup.model.secrets import MASK, Masker, bare_url
from recoup.repository.compressing import compressor, decompressed
from recoup.repository.plain import members
from recoup.repository.plain.packing import TarWriter, entries
from recoup.system.destinations import checked_destination
from recoup.testing.repository_contract import manifest_of, record_of

component = (
    st.binary(min_size=1, max_size=20)
    .map(lambda b: b.decode("utf-8", "surrogateescape"))
    .filter(lambda s: "/" not in s and "\0" not in s and s not in (".", ".."))
)
paths = st.lists(component, min_size=1, max_size=4).map("/".join)
attributes = st.builds(
    Attributes,
    st.integers(0, 0o7777),
    st.integers(-(2**62), 2**62),
    st.dictionaries(st.text(string.ascii_letters, min_size=1, max_size=9), st.binary(max_size=20), max_size=2),
)
hexes = st.text("0123456789abcdef", min_size=64, max_size=64)
lines = st.one_of(
    st.builds(members.Line, paths, st.just("file"), attributes, st.integers(0, 2**50), hexes, changed=st.booleans()),
    st.builds(members.Line, paths, st.just("folder"), attributes),
    st.builds(members.Line, paths, st.just("symlink"), attributes, link=component),
    st.builds(members.Line, paths, st.just("hardlink"), link=paths),
)


@given(st.lists(lines, max_size=5), st.integers(1, 50))
def test_a_member_list_comes_back_however_it_is_cut(written: list[members.Line], size: int) -> None:
    data = b"".join(members.encode(line) for line in written)
    chunks = [data[i : i + size] for i in range(0, len(data), size)]
    assert list(members.decode(chunks)) == written


@given(st.lists(lines, min_size=1, max_size=3), st.data())
def test_a_member_list_that_was_damaged_gives_members_or_a_typed_error(
    written: list[members.Line], data: st.DataObject
) -> None:
    text = bytearray(b"".join(members.encode(line) for line in written))
    position = data.draw(st.integers(0, len(text) - 1))
    text[position] = data.draw(st.integers(0, 255))
    try:
        for line in members.decode([bytes(text)]):
            assert line.name == "." or checked_relative(line.name)
    except (DamagedError, UnsafePathError):
        pass


@given(st.binary(max_size=300))
def test_no_bytes_make_the_member_list_fall_over(data: bytes) -> None:
    with contextlib.suppress(RecoupError):
        list(members.decode([data]))


def sample() -> bytes:
    part = StoredPart("a", "stream", "s/a", 1, 1, "0" * 64, "0" * 64)
    return encode(manifest_of(SetName.at(datetime(2026, 11, 21, tzinfo=UTC)), {"s": record_of(part)}))


@given(st.data())
def test_a_manifest_with_a_changed_byte_is_read_or_refused(data: st.DataObject) -> None:
    text = bytearray(sample())
    text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(text), "manifest.json")
    except RefusedError as error:
        assert error.exit_code == 13


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.data(), json_values)
def test_a_manifest_with_a_foreign_value_is_read_or_refused(data: st.DataObject, value: object) -> None:
    document = json.loads(sample())
    document[data.draw(st.sampled_from(sorted(document)))] = value
    try:
        decode(json.dumps(document).encode(), "manifest.json")
    except RefusedError as error:
        assert error.exit_code == 13


@given(st.integers(2000, 2100), st.integers(0, 366 * 86400), st.integers(1, 50))
def test_set_names_come_back(year: int, seconds: int, ordinal: int) -> None:
    time = datetime.fromtimestamp(datetime(year, 1, 1, tzinfo=UTC).timestamp() + seconds, UTC)
    name = SetName(time, ordinal)
    assert SetName.parse(str(name)) == name


@given(st.text(max_size=30))
def test_only_names_of_sets_are_names_of_sets(text: str) -> None:
    name = SetName.parse(text)
    assert name is None or str(name) == text


@given(st.text(max_size=40))
def test_a_checked_name_stays_inside_its_folder(text: str) -> None:
    try:
        name = checked_relative(text)
    except UnsafePathError:
        return
    assert not Path(name).is_absolute()
    assert ".." not in Path(name).parts


@pytest.mark.requirement("DM-10")
@given(st.lists(st.sampled_from(["..", ".", "a", "b c", "~x"]), min_size=1, max_size=5).map("/".join))
def test_a_destination_never_climbs(text: str) -> None:
    base = Path("/nowhere/base")
    try:
        place = checked_destination(text, base)
    except (UnsafePathError, RuntimeError):
        return
    assert place.is_relative_to(base)


@given(st.binary(max_size=5000), st.sampled_from(["none", "zstd", "gzip"]), st.integers(1, 700))
def test_compressed_streams_come_back(data: bytes, kind: str, size: int) -> None:
    machine = compressor(kind)  # type: ignore[arg-type]
    packed = b"".join([bytes(machine.compress(data)), machine.flush()])
    chunks = iter([packed[i : i + size] for i in range(0, len(packed), size)])
    assert b"".join(decompressed(chunks, kind)) == data  # type: ignore[arg-type]


@given(st.binary(min_size=1, max_size=2000), st.sampled_from(["zstd", "gzip"]), st.data())
def test_a_compressed_stream_cut_anywhere_or_with_a_tail_is_damaged(
    data: bytes, kind: str, drawn: st.DataObject
) -> None:
    machine = compressor(kind)  # type: ignore[arg-type]
    packed = machine.compress(data) + machine.flush()
    cut = drawn.draw(st.integers(0, len(packed) - 1))
    for broken in (packed[:cut], packed + b"\0"):
        with pytest.raises(DamagedError):
            b"".join(decompressed(iter([broken]), kind))  # type: ignore[arg-type]


def test_a_gzip_bomb_is_read_in_bounded_steps() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    assert max(len(piece) for piece in decompressed(iter([bomb]), "gzip")) < 32 * 1024 * 1024


@given(st.dictionaries(paths, st.binary(max_size=2000), max_size=4))
def test_archives_come_back(files: dict[str, bytes]) -> None:
    out: list[bytes] = []
    writer = TarWriter(out.append)
    for name, data in files.items():
        writer.entry(Member(name, "file", Attributes(0o600, 1_234_567_890_123_456_789)), len(data), [data])
    writer.end()
    found = {info.name: body.read() for info, body in entries(iter(out)) if body is not None}
    assert found == files
    assert sum(map(len, out)) % 10240 == 0


@given(st.binary(max_size=3000))
def test_no_bytes_make_the_archive_reader_fall_over(data: bytes) -> None:
    try:
        for _, body in entries(iter([data])):
            if body is not None:
                body.read()
    except RecoupError:
        pass


@pytest.mark.requirement("DM-11")
@given(st.text(st.characters(codec="utf-8", exclude_characters="*"), min_size=4, max_size=30), st.text(max_size=20))
def test_a_known_secret_never_passes_the_masker(secret: str, around: str) -> None:
    assume(secret not in MASK)
    shown_text = Masker([secret])(f"{around}{secret}{around}")
    assert secret not in shown_text or secret in MASK


@pytest.mark.requirement("DM-11")
@pytest.mark.parametrize(
    "text",
    [
        "postgresql://user:hunter22@host/db",
        "could not connect: https://:hunter22@host:6333/collections",
        "password=hunter22",
        "api-key: hunter22",
        '{"token": "hunter22"}',
        "Authorization: Bearer hunter22",
    ],
)
def test_credentials_are_masked_though_nobody_named_them(text: str) -> None:
    assert "hunter22" not in Masker()(text)


@pytest.mark.requirement("DM-7", "DM-11")
def test_a_bare_url_has_no_user_password_or_query() -> None:
    assert bare_url("https://user:pw@host:6333/path?api_key=x#y") == "https://host:6333/path"


@given(st.text(max_size=30))
def test_what_is_shown_has_no_control_characters(text: str) -> None:
    assert all(c.isprintable() for c in shown(text))


def test_facts_are_equal_only_to_themselves() -> None:
    facts = Facts({"a": {"rows": 1}}, (Probe("c", "v", "1", ("2",)),), 3)
    assert all(line.equal for line in compare(facts, facts))
    assert not all(line.equal for line in compare(facts, Facts({"a": {"rows": "1"}}, facts.probes, 3)))
