"""The keys of a dedup repository, against the page: what follows is computed here by other ways than in the code."""

import json
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from recoup.errors import DamagedError, WrongKeyError
from recoup.repository.dedup.keys import (
    KIND_CHUNK,
    KIND_DIRECTORY,
    KIND_MANIFEST,
    KIND_RECIPES,
    Keys,
    canonical,
    new_keys,
    owner_keys,
    record_verified,
    verify_signature,
)

REPOSITORY = "00112233445566778899aabbccddeeff"
PRIVATE = bytes(range(32))
DEDUP = bytes(range(32, 64))
KINDS = (KIND_CHUNK, KIND_DIRECTORY, KIND_MANIFEST, KIND_RECIPES)


@pytest.fixture(scope="module")
def keys() -> Keys:
    return owner_keys(REPOSITORY, PRIVATE, DEDUP)


@pytest.fixture(scope="module")
def writer(keys: Keys) -> Keys:
    return Keys(REPOSITORY, keys.public, keys.dedup, keys.owner, bytes(range(64, 96)), None, "51d2000000000000")


def derive(what: str, key: bytes) -> bytes:
    return blake3(key, derive_key_context=f"recoup dedup v1 {what}").digest()


def gcm_open(key: bytes, nonce: bytes, data: bytes, associated: bytes) -> bytes:
    opening = Cipher(AES(key), GCM(nonce, data[-16:])).decryptor()
    opening.authenticate_additional_data(associated)
    return opening.update(data[:-16]) + opening.finalize()


def run_key_by_the_page(sealed: bytes) -> bytes:
    mine = X25519PrivateKey.from_private_bytes(PRIVATE)
    sender, public = sealed[:32], mine.public_key().public_bytes_raw()
    shared = mine.exchange(X25519PublicKey.from_public_bytes(sender))
    wrapping = HKDF(SHA256(), 32, sender + public, b"recoup dedup v1 run").derive(shared)
    return gcm_open(wrapping, bytes(12), sealed[32:], b"")


def test_every_key_is_derived_as_the_page_says(keys: Keys) -> None:
    assert keys.chunk_key == derive("chunk", DEDUP)
    assert keys.stream_key == derive("stream", DEDUP)
    assert keys.index_key == derive("index", DEDUP)
    assert keys.anchor_key == derive("anchor", DEDUP)
    assert keys.cut_seed == struct.unpack("<Q", derive("cut", DEDUP)[:8])[0]
    assert keys.public == X25519PrivateKey.from_private_bytes(PRIVATE).public_key().public_bytes_raw()
    owner = Ed25519PrivateKey.from_private_bytes(derive("owner", PRIVATE)).public_key().public_bytes_raw()
    assert keys.owner == keys.maker == owner


def test_known_secrets_give_known_keys(keys: Keys) -> None:
    """These numbers never change: repositories depend on them."""
    assert keys.public.hex() == "8f40c5adb68f25624ae5b214ea767a6ec94d829d3d7b5e1ad1ba6f3e2138285f"
    assert keys.owner.hex() == "855aaa04132be4de66d2e8e3a0498bf416acf6e067d4f4a06fa6ffec7403c4d9"
    assert keys.chunk_key.hex() == "ecf1534b16db9d4e408f576a419551cdf929c60b25f05fab378efd9793eb1888"
    assert keys.cut_seed == 5927131666542350054


def test_new_keys_are_random_and_whole() -> None:
    first, second = new_keys(REPOSITORY), new_keys(REPOSITORY)
    assert first.can_read
    assert {len(key) for key in (first.public, first.dedup, first.owner, first.signing)} == {32}
    assert first.public != second.public
    assert first.dedup != second.dedup
    assert first.owner != second.owner


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_run_key_seals_is_opened_by_the_page(keys: Keys, kind: int) -> None:
    run = keys.new_run()
    counter = (7 << 32) + 5
    sealed = run.seal(kind, counter, b"chunk", b"identity")
    nonce = struct.pack("<BBBBQ", kind, 0, 0, 0, counter)
    assert gcm_open(run_key_by_the_page(run.sealed), nonce, sealed, bytes([kind]) + b"identity") == b"chunk"
    assert len(sealed) == len(b"chunk") + 16


def test_a_run_key_is_sealed_anew_for_each_run_and_opened_by_the_private_key(keys: Keys) -> None:
    run, other = keys.new_run(), keys.new_run()
    assert len(run.sealed) == 80
    assert run.sealed[:32] != other.sealed[:32]
    opened = keys.open_run(run.sealed, "the pack")
    assert opened.sealed == run.sealed
    assert opened.open(KIND_CHUNK, 1, run.seal(KIND_CHUNK, 1, b"x", b"id"), b"id", "it") == b"x"


def test_a_writer_seals_what_it_cannot_open_and_the_owner_can(keys: Keys, writer: Keys) -> None:
    run = writer.new_run()
    sealed = run.seal(KIND_CHUNK, 0, b"data", b"id")
    with pytest.raises(WrongKeyError, match="the pack cannot be read on this host"):
        writer.open_run(run.sealed, "the pack")
    assert not writer.can_read
    assert keys.open_run(run.sealed, "the pack").open(KIND_CHUNK, 0, sealed, b"id", "it") == b"data"


def test_what_was_sealed_as_one_thing_opens_as_no_other(keys: Keys) -> None:
    run = keys.new_run()
    sealed = run.seal(KIND_CHUNK, 3, b"data", b"identity")
    for kind, counter, identity in [
        (KIND_DIRECTORY, 3, b"identity"),
        (KIND_CHUNK, 4, b"identity"),
        (KIND_CHUNK, 3 + (1 << 32), b"identity"),
        (KIND_CHUNK, 3, b"Identity"),
        (KIND_CHUNK, 3, b""),
    ]:
        with pytest.raises(DamagedError, match="chunk 3 is not what was stored"):
            run.open(kind, counter, sealed, identity, "chunk 3")


def test_kinds_and_counters_share_no_nonce(keys: Keys) -> None:
    """Under one key, equal nonces would give equal key streams: then equal plain bytes give equal sealed bytes."""
    run = keys.new_run()
    seen = {
        run.seal(kind, counter, bytes(32), b"")[:-16]
        for kind in KINDS
        for counter in (0, 1, 255, 256, 1 << 32, (1 << 64) - 1)
    }
    assert len(seen) == 4 * 6


@given(st.data())
def test_any_flipped_bit_is_told(keys: Keys, data: st.DataObject) -> None:
    run = keys.new_run()
    sealed = bytearray(run.seal(KIND_RECIPES, 9, b"some recipes", b"id"))
    place = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[place // 8] ^= 1 << place % 8
    with pytest.raises(DamagedError):
        run.open(KIND_RECIPES, 9, memoryview(sealed), b"id", "the recipes")


@given(st.data())
def test_any_flipped_bit_of_a_sealed_run_key_is_told(keys: Keys, data: st.DataObject) -> None:
    sealed = bytearray(keys.new_run().sealed)
    place = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[place // 8] ^= 1 << place % 8
    with pytest.raises(DamagedError, match="the key in pack 1"):
        keys.open_run(bytes(sealed), "pack 1")


@given(st.binary(max_size=100))
def test_whatever_is_no_sealed_run_key_is_told(keys: Keys, sealed: bytes) -> None:
    with pytest.raises(DamagedError):
        keys.open_run(sealed, "pack 1")


@pytest.mark.parametrize("sender", [bytes(32), b"\x01" + bytes(31)])
def test_a_public_key_of_low_order_is_told(keys: Keys, sender: bytes) -> None:
    with pytest.raises(DamagedError):
        keys.open_run(sender + bytes(48), "pack 1")


@pytest.mark.parametrize("length", range(17))
def test_what_is_shorter_than_a_tag_is_told(keys: Keys, length: int) -> None:
    with pytest.raises(DamagedError):
        keys.new_run().open(KIND_CHUNK, 0, bytes(length), b"id", "chunk 0")


def test_the_run_key_of_another_repository_is_told(keys: Keys) -> None:
    with pytest.raises(DamagedError, match="not one that was sealed for this repository"):
        keys.open_run(new_keys(REPOSITORY).new_run().sealed, "pack 1")


def test_two_threads_seal_by_one_run_key(keys: Keys) -> None:
    run = keys.new_run()
    datas = [bytes([number]) * 50_000 for number in range(200)]
    with ThreadPoolExecutor(2) as pool:
        sealed = list(pool.map(lambda number: run.seal(KIND_CHUNK, number, datas[number], b"id"), range(200)))
        opened = list(pool.map(lambda number: run.open(KIND_CHUNK, number, sealed[number], b"id", "it"), range(200)))
    assert opened == datas


def test_nothing_shows_a_secret(keys: Keys) -> None:
    shown = repr(keys) + str(keys) + repr(keys.new_run())
    for secret in (PRIVATE, DEDUP, keys.signing):
        assert secret.hex() not in shown
        assert repr(secret) not in shown


def test_a_signature_is_ed25519_over_the_sorted_json_without_spaces(keys: Keys) -> None:
    record = {"verify": "aé", "a": [1, {"y": 2, "x": 3}], "format": "recoup-history"}
    signed = keys.signed(record)
    text = '{"a":[1,{"x":3,"y":2}],"format":"recoup-history","verify":"aé"}'.encode()
    Ed25519PublicKey.from_public_bytes(keys.maker).verify(bytes.fromhex(signed["signature"]), text)
    assert record_verified(keys.owner, json.loads(json.dumps(signed)))


def test_a_changed_record_or_another_key_is_not_believed(keys: Keys, writer: Keys) -> None:
    signed = keys.signed({"time": "x", "condemned": []})
    assert not record_verified(keys.owner, {**signed, "condemned": ["a"]})
    assert not record_verified(keys.owner, {**signed, "more": 1})
    assert not record_verified(writer.maker, signed)
    assert not record_verified(keys.owner, writer.signed({"time": "x", "condemned": []}))


@pytest.mark.parametrize("odd", [{}, {"signature": 5}, {"signature": "xyz"}, {"signature": "00" * 64, "a": "\ud800"}])
def test_an_odd_record_is_not_believed(keys: Keys, odd: dict[str, object]) -> None:
    assert not record_verified(keys.owner, odd)


@given(st.binary(max_size=80), st.binary(max_size=10))
def test_no_random_signature_is_believed(keys: Keys, signature: bytes, data: bytes) -> None:
    assert not verify_signature(keys.owner, signature, data)


@given(st.binary(max_size=40).filter(lambda key: len(key) != 32))
def test_what_is_no_key_verifies_nothing(keys: Keys, key: bytes) -> None:
    assert not verify_signature(key, keys.sign(b"x"), b"x")


def test_what_is_signed_has_everything_but_the_signature() -> None:
    assert canonical({"b": 1, "signature": "00", "a": True}) == b'{"a":true,"b":1}'


def test_a_writer_believes_itself_and_the_owner_alone(keys: Keys, writer: Keys) -> None:
    stranger = bytes(32)
    assert writer.believes(writer.maker, writer.maker)
    assert writer.believes(writer.maker, keys.owner)  # what a prune rewrote
    assert writer.believes(keys.owner, keys.owner)
    assert keys.believes(keys.owner, keys.owner)
    assert not keys.believes(writer.maker, writer.maker)
    assert not keys.believes(writer.maker, keys.owner)
    assert not writer.believes(stranger, stranger)
    assert not writer.believes(stranger, keys.owner)
    assert not writer.believes(keys.owner, writer.maker)  # the owner's name, signed by somebody else
    assert not writer.believes(writer.maker, stranger)
