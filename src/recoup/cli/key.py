"""`recoup key`: the keys of encrypted repositories."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recoup.cli._session import Session, session, verb
from recoup.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from recoup._keys import KeyRow, NewKey
    from recoup.repository._base import KeyProof

app = typer.Typer(add_completion=False, help="Prove keys, and say who can open a dedup repository.")

NewPassword = Annotated[
    Path | None,
    typer.Option("--new-password-file", metavar="FILE", help="File that holds the new passphrase, and nothing else."),
]
NewFile = Annotated[
    Path | None,
    typer.Option("--new-key-file", metavar="FILE", help="File of at least 32 bytes that nobody can guess."),
]
Recipients = Annotated[
    list[str] | None,
    typer.Option("--recipient", metavar="KEY", help="age1..., ssh-..., or a file of such lines; repeatable."),
]
Label = Annotated[str, typer.Option(metavar="TEXT", help="What to call it in `key list`.")]


@app.callback()
def _key() -> None:
    """Prove keys, and say who can open a dedup repository."""


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
    for problem in (*now.stack.damaged_keyslots(), *now.stack.keys_apart):
        now.say(f"Warning: {problem}")
    return ExitCode.OK


@app.command("list")
@verb
def list_(context: typer.Context) -> ExitCode:
    """List who can open a dedup repository, and which hosts may only add to it. It takes no key."""
    now = session(context)
    rows = now.stack.key_rows()
    for row in rows:
        now.result("key", row)
    now.show(_table(rows))
    problems = [row.problem for row in rows if row.problem]
    if not any(row.is_keyslot and not row.problem for row in rows):
        problems.append("there is no keyslot that can be read: bring `keys/` back from a copy of the repository")
    for problem in problems:
        now.say(f"Warning: {problem}")
    return ExitCode.DAMAGED if problems else ExitCode.OK


@app.command()
@verb
def add(
    context: typer.Context,
    new_password_file: NewPassword = None,
    new_key_file: NewFile = None,
    recipient: Recipients = None,
    label: Label = "",
) -> ExitCode:
    """Let one more passphrase, key file or age key open a dedup repository. On a terminal, a passphrase is asked for."""
    now = session(context)
    new = _new(now, new_password_file, new_key_file, recipient)
    if now.dry_run:
        now.stack.try_key(new)
        return _would(now, "add a keyslot")
    slot = now.stack.add_key(new, label)
    now.result("key", {"verb": "add", "id": slot})
    now.show(f"Added keyslot {slot}.{_untried(new)}")
    return ExitCode.OK


@app.command()
@verb
def rotate(
    context: typer.Context,
    slot: Annotated[
        str, typer.Argument(metavar="ID", help="Keyslot; by default the one that opens the repository here.")
    ] = "",
    new_password_file: NewPassword = None,
    new_key_file: NewFile = None,
    recipient: Recipients = None,
    label: Label = "",
) -> ExitCode:
    """Replace a keyslot by one with a new secret. The old one is removed when the new one is stored and tried.

    Stored data stay as they are: whoever opened the old keyslot before may have kept what it holds.
    """
    now = session(context)
    new = _new(now, new_password_file, new_key_file, recipient)
    if now.dry_run:
        now.stack.try_key(new)
        which = now.stack.key_named(slot).id if slot else "that opens the repository here"
        return _would(now, f"replace the keyslot {which}")
    old, made = now.stack.rotate_key(slot, new, label, wait_lock=now.wait_lock)
    now.result("key", {"verb": "rotate", "id": made, "removed": old})
    now.show(f"Keyslot {made} takes the place of {old}.{_untried(new)}")
    now.show(
        "Have the configuration name the new one where it named the old one; `recoup key check` proves that it fits."
    )
    return ExitCode.OK


@app.command()
@verb
def remove(
    context: typer.Context,
    slot: Annotated[str, typer.Argument(metavar="ID", help="Keyslot or writer, or the begin of its id.")],
) -> ExitCode:
    """Remove a keyslot, never the last one, or shut out a host that may only add sets.

    Stored data stay as they are: whoever opened the keyslot before may have kept what it holds.
    """
    now = session(context)
    row = now.stack.key_named(slot)
    if now.dry_run:
        return _would(now, f"remove {row.id}")
    now.confirm(_whether_to_remove(row))
    removed = now.stack.remove_key(row.id, wait_lock=now.wait_lock)
    now.result("key", {"verb": "remove", "id": removed})
    now.show(f"Removed {removed}.")
    return ExitCode.OK


@app.command()
@verb
def export(
    context: typer.Context,
    write_only: Annotated[
        Path | None,
        typer.Option("--write-only", metavar="FILE", help="Write a key for a host that may add sets and read none."),
    ] = None,
    recovery: Annotated[
        Path | None,
        typer.Option(
            "--recovery", metavar="FILE", help="Write a key file that opens the repository, to keep elsewhere."
        ),
    ] = None,
    label: Label = "",
) -> ExitCode:
    """Write a new key to a file: for a host that may only add sets, or to keep in a safe place. No file is written over."""
    now = session(context)
    file = write_only or recovery
    if file is None or (write_only and recovery):
        given = "nothing says what to write" if file is None else "--write-only and --recovery are two different keys"
        raise UsageError(given, "Give either --write-only FILE or --recovery FILE.")
    if now.dry_run:
        return _would(now, f"write {file}")
    if write_only:
        made = now.stack.export_writer(file, label)
        now.show(
            f"{file} lets a host add sets to the repository and read none. Bring it there, name it there as "
            f"`writer_key_file`, and remove it here. It is writer {made}."
        )
    else:
        made = now.stack.export_recovery(file, label)
        now.show(
            f"{file} opens the repository, named as `key_file`. Keep it in a safe place, and remove it here. "
            f"It is keyslot {made}."
        )
    now.result("key", {"verb": "export", "id": made, "file": file, "reads": write_only is None})
    return ExitCode.OK


def _whether_to_remove(row: "KeyRow") -> str:
    name = f'{row.id} "{row.label}"' if row.label else row.id
    if row.method == "writer":
        return f"Shut out the writer {name}? That host can add no more sets."
    here = " It is what opens the repository here." if row.opens else ""
    return f"Remove the keyslot {name}?{here} Whoever has nothing else cannot open the repository any more."


def _new(now: Session, password: Path | None, key_file: Path | None, recipients: list[str] | None) -> "NewKey":
    """What is named; where nothing is, a passphrase that a person types twice."""
    from recoup._keys import NewKey

    typed = "" if password or key_file or recipients or now.dry_run else _asked()
    return NewKey(password, typed, key_file, tuple(recipients or ()))


def _asked() -> str:
    import sys

    if not sys.stdin.isatty():
        raise UsageError(
            "nothing says what the new key is, and nobody can be asked: this is not a terminal",
            "Give --new-password-file FILE, --new-key-file FILE or --recipient KEY.",
        )
    found: str = typer.prompt("New passphrase", hide_input=True, confirmation_prompt=True, err=True)
    return found


def _would(now: Session, what: str) -> ExitCode:
    repository = now.stack.key_repository()
    now.result("plan", {"verb": "key", "repository": repository, "what": what})
    now.show(f"Would {what}, for {repository}.")
    return ExitCode.OK


def _untried(new: "NewKey") -> str:
    return " It could not be tried here: that takes the secret key of a recipient." if new.recipients else ""


def _table(rows: "tuple[KeyRow, ...]") -> object:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for title in ("ID", "Method", "Label", "Created", ""):
        table.add_column(title)
    for row in rows:
        day = "" if row.created is None else f"{row.created:%Y-%m-%d}"
        note = "DAMAGED" if row.problem else "shut out" if row.removed else "used here" if row.opens else ""
        table.add_row(*map(Text, (row.id, row.method, row.label, day, note)))
    return table


def _sentence(proof: "KeyProof") -> str:
    newest = f", and so was the key of {proof.newest}" if proof.newest else "; there is no encrypted set yet to try"
    if proof.method == "writer-key":
        return f"{proof.repository}: this host has a writer key: it adds sets, and can read none, its own included."
    if proof.method == "dedup":
        return f"{proof.repository}: a keyslot was opened, a probe encrypted and opened again{newest}."
    whose = f"to {', '.join(proof.recipients)}" if proof.recipients else "with a passphrase"
    begin = f"{proof.repository}: a probe was encrypted by {proof.method} {whose}"
    if not proof.opens:
        return (
            f"{begin}. This host has no secret to open it with: it can back up and verify, and `restore` and `drill` "
            "need another one."
        )
    return f"{begin} and opened again{newest}."
