"""Keys for tests of encryption: made here, by the programs that people make them with."""

import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pyrage

from recoup.repository.sealing.age import AgeSealing
from recoup.repository.sealing.gpg import GpgSealing

PASSPHRASE = "correct horse battery staple"
STRETCHED = 65_536  # so that hundreds of files of a test cost no minutes

WAYS = ("age", "gpg-passphrase", "gpg-recipient")


def private(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(0o600)
    return path


def age_key(folder: Path, name: str = "identity") -> tuple[str, Path]:
    """A public key, and the file of its identity, as age-keygen writes it."""
    identity = pyrage.x25519.Identity.generate()
    public = str(identity.to_public())
    return public, private(folder / name, f"# created: 2026-11-21\n# public key: {public}\n{identity}\n")


@functools.cache
def exported_keys(user: str = "backup", passphrase: str = "") -> tuple[bytes, bytes]:
    """A public and a secret OpenPGP key, as gpg exports them."""
    home = Path(tempfile.mkdtemp(prefix="keys", dir="/tmp"))
    (home / "gpg-agent.conf").write_text(f"s2k-count {STRETCHED}\n")
    try:
        gpg = ["gpg", "--batch", "--homedir", str(home), "--pinentry-mode", "loopback", "--passphrase", passphrase]

        def run(*arguments: str) -> bytes:
            return subprocess.run([*gpg, *arguments], capture_output=True, check=True).stdout

        run("--quick-gen-key", f"{user} <{user}@example.org>", "ed25519", "cert", "never")
        listing = run("--list-keys", "--with-colons").decode()
        key = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr"))
        run("--quick-add-key", key, "cv25519", "encr", "never")
        return run("--export", key), run("--export-secret-keys", key)
    finally:
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False, env={**os.environ})
        shutil.rmtree(home)


def sealing(way: str, folder: Path, *, can_open: bool = True) -> AgeSealing | GpgSealing:
    """One way of sealing, its key files in `folder`."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if way == "age":
        public, identity = age_key(folder)
        return AgeSealing((public,), identity if can_open else None)
    if way == "gpg-passphrase":
        return GpgSealing(private(folder / "passphrase", PASSPHRASE + "\n"), stretched=STRETCHED)
    public_file, secret_file = (
        private(folder / name, data) for name, data in zip(("public", "secret"), exported_keys(), strict=True)
    )
    return GpgSealing(None, (public_file,), secret_file if can_open else None)
