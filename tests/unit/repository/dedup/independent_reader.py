"""Extracts a set of a dedup repository. Written from docs/format.md alone: imports nothing from recoup."""

import base64
import hashlib
import json
import struct
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zstandard
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def derive(name: str, key: bytes) -> bytes:
    return blake3(key, derive_key_context=f"recoup dedup v1 {name}").digest()


def unzstd(data: bytes, limit: int, bases: bytes = b"") -> bytes:
    raw = zstandard.ZstdCompressionDict(bases, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if bases else None
    plain = zstandard.ZstdDecompressor(dict_data=raw).stream_reader(data).read(limit + 1)
    assert len(plain) <= limit
    return plain


def verify(key: bytes, signature: bytes, data: bytes) -> None:
    ed25519.Ed25519PublicKey.from_public_bytes(key).verify(signature, data)


class Cursor:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, layout: str) -> Any:
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += struct.calcsize("<" + layout)
        return values[0] if len(values) == 1 else values

    def many(self, count: int, layout: str) -> list[Any]:
        return [self.take(layout) for _ in range(count)]

    def varint(self) -> int:
        byte: int = self.take("B")
        return byte if byte < 128 else byte - 128 | self.varint() << 7


class Reader:
    def __init__(self, root: Path, secret: bytes) -> None:
        self.root, self.record = root, json.loads((root / "recoup-repository.json").read_bytes())
        known = {"format": "recoup-repository", "version": 1, "layout": "dedup", "critical": []}
        assert self.record == self.record | known
        slots = [json.loads(path.read_bytes()) for path in (root / "keys").glob("*.json")]
        quick_first = sorted(slots, key=lambda slot: slot["method"])
        private, dedup = next(found for slot in quick_first if (found := unlocked(slot, secret)))
        self.private = x25519.X25519PrivateKey.from_private_bytes(private)
        assert self.private.public_key().public_bytes_raw().hex() == self.record["public"]
        owner = ed25519.Ed25519PrivateKey.from_private_bytes(derive("owner", private)).public_key()
        assert owner.public_bytes_raw().hex() == self.record["owner"]
        self.chunk_key, self.stream_key = derive("chunk", dedup), derive("stream", dedup)
        self.chunks: dict[Any, list[Any]] = defaultdict(list)  # by address (run, number), and by id
        for path in sorted((root / "index").glob("*.idx")):
            self.read_index(path.read_bytes(), AESGCM(derive("index", dedup)))

    def run_key(self, sealed: bytes) -> AESGCM:
        shared = self.private.exchange(x25519.X25519PublicKey.from_public_bytes(sealed[:32]))
        salt = sealed[:32] + bytes.fromhex(self.record["public"])
        key = HKDF(SHA256(), 32, salt, b"recoup dedup v1 run").derive(shared)
        return AESGCM(AESGCM(key).decrypt(bytes(12), sealed[32:], None))

    def read_index(self, data: bytes, key: AESGCM) -> None:
        assert data[:8] == b"RCPINDX1"
        verify(data[40:72], data[72:136], data[:72] + data[136:])
        body = Cursor(unzstd(key.decrypt(data[136:148], data[148:], data[:72]), 1 << 27))
        packs = body.many(body.take("I"), "12sIQ32sI")
        for _ in range(body.take("I")):
            body.take(f"{body.take('H')}s")
        count, runs = body.take("I"), body.many(body.take("H"), "12s")
        rows = zip(*(body.many(count, column) for column in ("H", "I", "32s", "I", "I", "B", "B")), strict=True)
        for pack, number, _, _, count in packs:
            offset, file = 104, f"{pack.hex()}-{number:08x}"
            for place in range(count):
                run, address, name, length, sealed, encoding, bases = next(rows)
                where, ids = (file, offset, number << 32 | place), body.many(bases, "32s")
                self.chunks[runs[run], address].append((*where, name, length, sealed, encoding, ids))
                self.chunks[name] += self.chunks[runs[run], address][-1:]
                offset += sealed

    def content(self, chunk: Any) -> bytes:
        pack, offset, counter, name, length, sealed, encoding, ids = chunk
        with open(self.root / "packs" / pack[:2] / f"{pack}.pack", "rb") as file:
            magic, run, number, key = struct.unpack("<8s12sI80s", file.read(104))
            assert (magic, f"{run.hex()}-{number:08x}") == (b"RCPPACK1", pack)
            file.seek(offset)
            data = self.run_key(key).decrypt(struct.pack("<IQ", 1, counter), file.read(sealed), b"\1" + name)
        bases = [self.content(next(base for base in self.chunks[one] if base[6] != 17)) for one in ids]
        plain = decode(encoding, data, length, b"".join(bases))
        assert blake3(plain, key=self.chunk_key).digest() == name
        return plain

    def open_set(self, name: str) -> tuple[Any, dict[str, Any]]:
        head = json.loads((self.root / name / "manifest.json").read_bytes())
        assert (head["format"], head["version"], head["critical"]) == ("recoup-dedup-set", 1, [])
        signature, recipes = bytes.fromhex(head.pop("signature")), (self.root / name / "recipes").read_bytes()
        signed = json.dumps(head, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        verify(bytes.fromhex(head["made_by"]), signature, signed.encode())
        assert (recipes[:8], blake3(recipes).hexdigest()) == (b"RCPRCPE1", head["recipes"])
        key, whose = self.run_key(base64.b64decode(head["key"])), bytes.fromhex(head["run"] + self.record["id"])
        nonce, sealed = struct.pack("<IQ", 3, head["counter"]), base64.b64decode(head["manifest"])
        manifest = json.loads(unzstd(key.decrypt(nonce, sealed, b"\3" + whose), 1 << 28))
        streams = unzstd(key.decrypt(struct.pack("<IQ", 4, 0), recipes[8:], b"\4" + whose), 1 << 29)
        return manifest, dict(read_recipes(Cursor(streams)))

    def stream(self, size: int, root: bytes, spans: list[Any]) -> Iterator[bytes]:
        hasher, gap = blake3(key=self.stream_key), 0
        for run, first, count in [*spans, (b"", 0, 0)]:
            if run is None:
                gap += count
                yield from (bytes(min(count - at, 1 << 20)) for at in range(0, count, 1 << 20))
                continue
            hasher.update(struct.pack("<BQ", 0, gap) if gap else b"")
            size, gap = size - gap, 0
            for number in range(first, first + count):
                data = self.content(chunk := self.chunks[run, number][0])
                hasher.update(b"\1" + chunk[3] + struct.pack("<Q", len(data)))
                size -= len(data)
                yield data
        assert (size, hasher.digest()) == (0, root)

    def extract(self, name: str, target: Path) -> None:
        manifest, recipes = self.open_set(name)
        assert manifest["name"] == name
        for part in (part for source in manifest["sources"].values() for part in source["parts"]):
            path, whole = target / part["path"], target / f"{part['path']}.stream"
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(whole, "wb") as file:
                file.writelines(self.stream(*recipes[part["path"]]))
            if part["kind"] == "tree":
                members = b"".join(self.stream(*recipes[part["members"]["path"]]))
                extract_tree(path, whole.read_bytes(), [json.loads(line) for line in members.splitlines()])
            whole.rename(path) if part["kind"] == "stream" else whole.unlink()


def unlocked(slot: Any, secret: bytes) -> tuple[bytes, bytes] | None:
    key = derive("key file", secret)
    if slot["method"] == "passphrase":
        numbers = {"n": slot["n"], "r": slot["r"], "p": slot["p"], "maxmem": 1 << 30, "dklen": 32}
        key = hashlib.scrypt(secret, salt=base64.b64decode(slot["salt"]), **numbers)
    sealed, whose = base64.b64decode(slot["sealed"]), f"recoup-key{slot['repository']}{slot['id']}".encode()
    try:
        keys = json.loads(AESGCM(key).decrypt(sealed[:12], sealed[12:], whose))
    except InvalidTag:
        return None
    return bytes.fromhex(keys["private"]), bytes.fromhex(keys["dedup"])


def decode(encoding: int, data: bytes, length: int, bases: bytes) -> bytes:
    if encoding in (0, 1, 17):
        return unzstd(data, length, bases) if encoding else data
    assert encoding in (2, 4)
    plain, planes = bytearray(length), Cursor(data)
    for plane in range(encoding):
        size = planes.take("I")
        part = planes.take(f"{size & 0x7FFFFFFF}s")
        plain[plane::encoding] = part if size >> 31 else unzstd(part, length)
    return bytes(plain)


def read_recipes(data: Cursor) -> Iterator[tuple[str, Any]]:
    runs = [None, *data.many(data.take("I"), "12s")]
    for _ in range(data.take("I")):
        path, (size, root) = data.take(f"{data.take('H')}s").decode(), data.take("Q32s")
        spans = [(runs[run := data.varint()], run and data.varint(), data.varint()) for _ in range(data.varint())]
        yield path, (size, root, spans)


def extract_tree(root: Path, stream: bytes, members: list[Any]) -> None:
    at = 0
    for member in members:
        path = root / member["name"]
        if member["kind"] == "file":
            at = member.get("at", at) + member["bytes"]
            path.write_bytes(stream[at - member["bytes"] : at])
        elif member["kind"] == "folder":
            path.mkdir()
        elif member["kind"] == "symlink":
            path.symlink_to(member["link"])
        else:
            path.hardlink_to(root / member["link"])
