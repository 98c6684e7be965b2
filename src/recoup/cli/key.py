"""`recoup key`: the keys of encrypted repositories."""

from typing import TYPE_CHECKING

import typer

from recoup.cli._session import session, verb
from recoup.errors import ExitCode

if TYPE_CHECKING:
    from recoup.repository._base import KeyProof

app = typer.Typer(add_completion=False, help="Prove the keys of encrypted repositories.")


@app.callback()
def _key() -> None:
    """Prove the keys of encrypted repositories."""


@app.command()
@verb
def check(context: typer.Context) -> ExitCode:
    """Prove that what is configured opens what it encrypts: encrypt a probe, open it, open the newest set's key.

    Run it before the first backup, and whenever a key was changed or brought back. A host that has public keys alone can
    back up and verify; it is said that it cannot open.
    """
    now = session(context)
    proofs = now.stack.prove_keys()
    for proof in proofs:
        now.result("key", proof)
        now.show(_sentence(proof))
    if not proofs:
        now.show("No repository is encrypted: there is nothing to check.")
    return ExitCode.OK


def _sentence(proof: "KeyProof") -> str:
    whose = f"to {', '.join(proof.recipients)}" if proof.recipients else "with a passphrase"
    begin = f"{proof.repository}: a probe was encrypted by {proof.method} {whose}"
    if not proof.opens:
        return (
            f"{begin}. This host has no secret to open it with: it can back up and verify, and `restore` and `drill` "
            "need another one."
        )
    newest = f", and so was the key of {proof.newest}" if proof.newest else "; there is no encrypted set yet to try"
    return f"{begin} and opened again{newest}."
