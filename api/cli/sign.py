"""advice-ledger sign: run only the signer, for a key that is kept on another machine than the API."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from api.cli import assemble
from api.cli.bars import OnProgress, progress
from api.cli.configure import configured, opened, operator
from api.cli.keys import SIGNING_KEY, KeyFile, place
from api.cli.recording import recorder_of
from api.cli.shared import (
    FOUND_WRONG,
    AsJson,
    CannotRun,
    ConfigFile,
    DatabaseUrl,
    DataDir,
    note,
    say,
    say_json,
)
from api.cli.signing import config_of
from api.cli.streams import notes_after
from api.postgres.connect import connect
from ledger.background import log_to_stderr
from ledger.database import Connection, Url, conninfo
from ledger.proof.errors import EvidenceError
from ledger.proof.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.proof.tlog.note import MAX_NOTE_BYTES
from ledger.store.envelope import Actor
from ledger.store.recorder import Recorder
from ledger.tlog.endorse.endorsers import EndorserConfig, Endorsers, EndorserStatus
from ledger.tlog.serve.newest_checkpoint import newest_size
from ledger.tlog.sign import rotate
from ledger.tlog.sign.adoption import Adoption
from ledger.tlog.sign.errors import SigningRefused
from ledger.tlog.sign.signer import Signer
from ledger.tlog.sign.signer_thread import SignerThread, SigningConfig, head
from ledger.tlog.sign.state_file import Signed
from ledger.tlog.signing_keys import SigningKey
from ledger.wording import counted

Once = Annotated[bool, typer.Option("--once", help="Sign what is recorded, and end.")]
Adopt = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        show_default=False,
        help="Make this checkpoint the last signed one, if the events have its root, and end. For a lost state file.",
    ),
]
GiveUp = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="SIZE",
        show_default=False,
        help="With --adopt: give up the checkpoint of this size, whose events are lost for good. Everybody who has it"
        " will see that.",
    ),
]

ReplaceDamaged = Annotated[
    bool,
    typer.Option(
        "--replace-damaged",
        help="With --adopt: give up a damaged state file of which there is no good copy. It is kept with .damaged after"
        " its name.",
    ),
]

Reason = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        show_default=False,
        help="With --adopt: why. It is recorded in the ledger, together with your name.",
    ),
]


def sign(  # noqa: PLR0913, PLR0917 - each option is an argument
    once: Once = False,
    adopt: Adopt = None,
    give_up: GiveUp = None,
    replace_damaged: ReplaceDamaged = False,
    reason: Reason = None,
    key: KeyFile = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Sign checkpoints over new events, until Ctrl-C or SIGTERM, or once.

    Exit code 1 if the database must not be signed as it is; the message says why.
    """
    with notes_after(result=once or adopt is not None):
        settings = configured(config, key_file=key, database_url=database_url, data_dir=data_dir)
        key_place = place(settings)
        if key_place is None:
            raise CannotRun(f"no key is configured: use --key, or set {SIGNING_KEY}")
        if adopt is None and (give_up is not None or replace_damaged or reason is not None):
            raise CannotRun("--give-up, --replace-damaged and --reason are options of --adopt")
        if adopt is not None and not (reason or "").strip():
            raise CannotRun("--adopt needs --reason, which is recorded together with your name")
        endorsers = assemble.endorsers(settings)
        signing = config_of(settings, key_place)
        adoption = None
        if adopt is not None:
            actor = Actor(id=operator(), kind="human", role="operator")
            adoption = Adoption(read_checkpoint(adopt, signing.key), actor, reason or "", give_up, replace_damaged)
        with opened(settings) as url:
            if once or adoption is not None:
                recorder = recorder_of(settings, url)
                with connect(url, "signer") as conn, progress() as on_progress:
                    signed = _once(conn, signing, adoption, on_progress, recorder)
                endorsements = [] if adoption is not None else Endorsers(conninfo(url, "signer"), endorsers).once()
                _show(signed, endorsements, as_json=as_json)
            else:
                _follow(url, signing, endorsers, recorder_of(settings, url))


def read_checkpoint(path: Path, key: SigningKey) -> Checkpoint:
    """Read a checkpoint that this key signed. Raises CannotRun."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_NOTE_BYTES + 1)
        return open_checkpoint(raw, key.verifier.name, [key.verifier]).checkpoint
    except OSError as error:
        raise CannotRun(f"{path}: {error.strerror}") from error
    except EvidenceError as error:
        raise CannotRun(f"{path} is not a checkpoint that this key signed: {error}") from error


def _once(
    conn: Connection,
    signing: SigningConfig,
    adoption: Adoption | None,
    on_progress: OnProgress,
    recorder: Recorder | None = None,
) -> Signed | None:
    """Sign or adopt; return the last checkpoint, or None if no event was new."""
    try:
        with rotate.leading(
            conn, signing.key, signing.state, signing.copies, stops_appends=signing.stops_appends
        ) as signer:
            if signer is None:
                raise CannotRun(f"another process signs, or has {signing.state}")
            if adoption is not None:
                return signer.adopt(adoption, lambda done, in_all: on_progress("adopting", done, in_all), recorder)
            return _sign_all(conn, signer, on_progress)
    except SigningRefused as error:
        note(f"refused: {error}")
        raise typer.Exit(FOUND_WRONG) from error
    except OSError as error:
        raise CannotRun(f"{signing.state}: {error.strerror}") from error


def _sign_all(conn: Connection, signer: Signer, on_progress: OnProgress) -> Signed | None:
    """Sign all events up to the present head, in several checkpoints if there are many."""
    position, last = head(conn), None
    first = newest_size(conn)
    while (signed := signer.step()) is not None:
        last = signed
        on_progress("signing", min(signed.size, position) - first, position - first)
        if signed.size >= position:
            break
    return last


def _follow(url: Url, signing: SigningConfig, endorsers: EndorserConfig, recorder: Recorder | None) -> None:
    log_to_stderr()
    thread = SignerThread(url, signing, endorsers, recorder=recorder)
    thread.start()
    note(f"signing with {signing.key.verifier.text}")
    try:
        thread.join()
    except KeyboardInterrupt:
        thread.stop()
        note("stopped")
    if thread.status.state == "refused":
        raise typer.Exit(FOUND_WRONG)


def _show(signed: Signed | None, endorsements: Sequence[EndorserStatus], *, as_json: bool) -> None:
    for endorser in endorsements:
        if endorser.error is not None:
            note(f"{endorser.name}: {endorser.error}")
    if as_json:
        checkpoint = {"size": signed.size, "root": signed.root.hex(), "note": signed.note} if signed else {"size": None}
        say_json({**checkpoint, "endorsements": [endorser._asdict() for endorser in endorsements]})
        return
    say(
        f"signed a checkpoint over {counted(signed.size, 'event')}\n\n{signed.note}"
        if signed
        else "nothing new to sign"
    )
    for endorser in endorsements:
        if endorser.error is None:
            say(f"endorsed by {endorser.name} up to {counted(endorser.size, 'event')}")
