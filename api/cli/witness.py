"""advice-ledger witness: being a witness for the logs of others. No ledger is needed for it."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Annotated

import typer

from api.cli.hosted_witness import plainly
from api.cli.serving import GRACE_S, bound, run_server
from api.cli.shared import AsJson, CannotRun, log_to_stderr, note, printable, say, say_json, say_table
from api.witness import keys
from api.witness.app import make_app, server_config
from api.witness.store import WitnessStore, make_store
from api.witness.witness import Witness
from ledger.proof.tlog.note import VerifierKey

app = typer.Typer(
    help="Cosign the checkpoints of other people's logs (docs/operate/witnesses.md).",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Key = Annotated[
    Path,
    typer.Option(
        "--key",
        envvar="ADVICE_LEDGER_WITNESS_KEY_FILE",
        metavar="FILE",
        show_default=False,
        help="The witness's key, in a file that nobody else can read.",
    ),
]
StateFile = Annotated[
    Path,
    typer.Option(
        "--state",
        envvar="ADVICE_LEDGER_WITNESS_STATE",
        metavar="FILE",
        show_default=False,
        help="The witness's state: what it has seen of each log.",
    ),
]
Name = Annotated[
    str,
    typer.Option(
        metavar="NAME", show_default=False, help="Names the witness, such as audit.example/w1: no blanks, no +"
    ),
]
Logs = Annotated[
    list[str],
    typer.Option(
        "--log",
        envvar="ADVICE_LEDGER_WITNESS_LOGS",
        metavar="VERIFIER_KEY",
        show_default=False,
        help="Cosign for the log with this key; as often as there are logs, and keys of theirs.",
    ),
]
Host = Annotated[str, typer.Option(metavar="ADDRESS", help="Listen here; 0.0.0.0 or :: is every address.")]
Port = Annotated[int, typer.Option(min=0, max=65535, metavar="NUMBER", help="Listen here; 0 takes a free port.")]


@app.command()
def keygen(name: Name, key: Key, state: StateFile, as_json: AsJson = False) -> None:
    """Make a key and the state that belongs to it, and print the verifier key, which the logs are given."""
    with plainly():
        made = keys.new(name)
        if key.exists():
            raise CannotRun(f"{key} is there already, and a key is never written over")
        # The state first: a key without one would have to be retired.
        make_store(state, made.verifier.text)
        keys.write(made, key)
    found = made.verifier
    if as_json:
        say_json({"name": found.name, "key_id": f"{found.key_id:08x}", "verifier_key": found.text})
    else:
        say(found.text)


@app.command()
def serve(key: Key, state: StateFile, log: Logs, host: Host = "127.0.0.1", port: Port = 8100) -> None:
    """Run the witness: POST /add-checkpoint and GET /healthz. Ctrl-C or SIGTERM ends it."""
    log_to_stderr()
    with plainly():
        found = keys.read(key)
        logs = [VerifierKey.parse(text) for text in log]
        with bound(host, port) as listener, contextlib.closing(WitnessStore(state, found.verifier.text)) as store:
            where = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
            for one in logs:
                note(f"cosigns for {printable(one.name)} as {found.verifier.text}")
            run(Witness(found, logs, store), listener, where)
    note("stopped")


@app.command()
def status(key: Key, state: StateFile, as_json: AsJson = False) -> None:
    """Print what was seen of each log, and the notes that were refused although a log had signed them.

    Exit code 1 when there are such notes: somebody should look at them.
    """
    with plainly(), contextlib.closing(WitnessStore(state, keys.read(key).verifier.text)) as store:
        seen, kept = store.seen(), store.refused_notes()
    if as_json:
        say_json(
            {
                "logs": [{"origin": origin, "size": one.size, "root": one.root.hex()} for origin, one in seen.items()],
                "refused": [{**one._asdict(), "note": one.note.decode()} for one in kept],
            }
        )
    else:
        say_table(("log", "size", "root"), [(printable(name), one.size, one.root.hex()) for name, one in seen.items()])
        for refused in kept:
            say(f"\n{refused.at} refused: {refused.reason}\n{_shown(refused.note)}")
    if kept:
        raise typer.Exit(1)


def run(witness: Witness, listener: socket.socket, where: str) -> None:
    """Serves until a signal ends it."""
    config = server_config(make_app(witness), grace_s=GRACE_S)
    run_server(config, listener, lambda: note(f"serving on {where}"))


def _shown(text: bytes) -> str:
    return "\n".join(printable(line) for line in text.decode().splitlines())
