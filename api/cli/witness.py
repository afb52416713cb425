"""advice-ledger witness: be a witness for other logs. It needs no ledger."""

from __future__ import annotations

import contextlib
import copy
import socket
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from api.cli.hosted_witness import plainly
from api.cli.serving import GRACE_S, bound, run_server
from api.cli.shared import AsJson, CannotRun, note, say, say_json, say_table
from api.cli.streams import naming
from api.http.server import server_config
from api.witness import keys
from api.witness.app import make_app
from api.witness.store import WitnessStore, make_store
from api.witness.witness import Witness, parse_logs
from ledger.background import log_to_stderr
from ledger.proof.auditor.report import printable
from ledger.proof.tlog.note import VerifierKey
from ledger.tlog.sign.errors import KeyUnusable

app = typer.Typer(
    help="Cosign the checkpoints of the logs of others (docs/operate/witnesses.md).",
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
        help="The witness's key, in a file that only its owner can read.",
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
        metavar="NAME",
        show_default=False,
        help="The name of the witness, such as audit.example/w1, without blanks and +.",
    ),
]
Logs = Annotated[
    list[str],
    typer.Option(
        "--log",
        envvar="ADVICE_LEDGER_WITNESS_LOGS",
        metavar="[ORIGIN=]VERIFIER_KEY",
        show_default=False,
        help="Cosign for the log with this key. Repeat it for each log, and for each key of a log. Default of ORIGIN: "
        "the name of the key.",
    ),
]
Host = Annotated[str, typer.Option(metavar="ADDRESS", help="The address to listen on; 0.0.0.0 or :: is every address.")]
Port = Annotated[
    int, typer.Option(min=0, max=65535, metavar="NUMBER", help="The port to listen on; 0 takes a free port.")
]


@app.command()
def keygen(name: Name, key: Key, state: StateFile, as_json: AsJson = False) -> None:
    """Make a key and the state that belongs to it, and print the verifier key, which is for the logs."""
    with plainly():
        made = keys.new(name)
        if key.exists():
            raise CannotRun(f"{key} exists, and a key is never overwritten")
        # Make the state first: a key without its state could not be used any more.
        make_store(state, made.verifier.text)
        try:
            keys.write(made, key)
        except KeyUnusable:
            state.unlink()
            raise
    with naming(f"the key is in {key}, its state in {state}"):
        _show(made.verifier, as_json=as_json)


@app.command()
def serve(key: Key, state: StateFile, log: Logs, host: Host = "127.0.0.1", port: Port = 8100) -> None:
    """Run the witness: POST /add-checkpoint, GET /<origin hash>/checkpoint and GET /healthz.

    Ctrl-C or SIGTERM stops it.
    """
    log_to_stderr()
    with plainly():
        signing_key = keys.read(key)
        logs = parse_logs(log)
        with bound(host, port) as listener, contextlib.closing(WitnessStore(state, signing_key.verifier.text)) as store:
            where = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
            for origin in logs:
                note(f"cosigns for {printable(origin)} as {signing_key.verifier.text}")
            run(Witness(signing_key, logs, store), listener, where)
    note("stopped")


@app.command()
def status(key: Key, state: StateFile, as_json: AsJson = False) -> None:
    """Print the largest tree seen of each log, and the notes that were refused although a log had signed them.

    Exit code 1 if there are such notes: a person should look at them.
    """
    with plainly(), contextlib.closing(WitnessStore(state, keys.read(key).verifier.text)) as store:
        seen, kept = store.seen(), store.refused_notes()
    if as_json:
        say_json(
            {
                "logs": [
                    {"origin": origin, "size": tree.size, "root": tree.root.hex()} for origin, tree in seen.items()
                ],
                "refused": [{**refused._asdict(), "note": refused.note.decode()} for refused in kept],
            }
        )
    else:
        say_table(
            ("log", "size", "root"), [(printable(name), tree.size, tree.root.hex()) for name, tree in seen.items()]
        )
        for refused in kept:
            say(f"\n{refused.at} refused: {refused.reason}\n{_shown(refused.note)}")
    if kept:
        raise typer.Exit(1)


def run(witness: Witness, listener: socket.socket, where: str) -> None:
    """Serve until a signal ends it."""
    config = server_config(
        make_app(witness),
        log_config=copy.deepcopy(uvicorn.config.LOGGING_CONFIG),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    run_server(config, listener, lambda: note(f"serving on {where}"))


def _show(key: VerifierKey, *, as_json: bool) -> None:
    if as_json:
        say_json({"name": key.name, "key_id": f"{key.key_id:08x}", "verifier_key": key.text})
    else:
        say(key.text)


def _shown(text: bytes) -> str:
    return "\n".join(printable(line) for line in text.decode().splitlines())
