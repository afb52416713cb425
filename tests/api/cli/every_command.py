"""Every command of the program, and arguments with which each does its work and prints a result.

The tests that walk over all commands fail for one that has no arguments here, so that a new command is tested too.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import orjson
from psycopg.conninfo import conninfo_to_dict
from typer.core import TyperGroup

from api.cli.administration import catch_up
from api.cli.commands import COMMANDS, load
from api.cli.configure import endpoint_keys_folder
from api.jobs.kind import DAY_S
from api.jobs.queue import ASK
from api.jobs.webhook_keys import make_key, write_keys
from api.sampling import finding
from api.settings import Settings
from ledger.database import Connection
from ledger.export.bundle import Disclosure, write_bundle
from ledger.proof.bundle.selection import Selection
from ledger.store.envelope import uuid7
from ledger.tlog import recording_keys
from ledger.tlog.signing_keys import SigningKey
from projections.registry import all_models
from schema.events import (
    ClientRegistered,
    DeliveryAttempted,
    DeliveryEnded,
    DeliveryPlanned,
    EndpointDefined,
    ErasureRequested,
    LegalHoldPlaced,
    PortfolioDefined,
    SubjectGroupJoined,
    SubjectSuspended,
)
from schema.samples import DrawSample
from tests.api.served import make_tokens
from tests.api.witness.processes import keygen
from tests.conftest import Template, ledger_copy
from tests.ledger.service.test_clients import opened
from tests.ledger.service.watching import run
from tests.ledger.tlog.logs import key_for, sign
from tests.projections.scenes import decided, recommended
from tests.subjects import record
from tests.support import CLERK, append, connect, new, requested

# Commands that run until they are ended. They print no result, but for the first tokens that `serve` makes.
SERVERS = frozenset({"serve", "witness serve"})
# It makes a ledger of its own, and takes a quarter of a minute.
SLOW = frozenset({"demo"})
# It needs a ledger that takes attested events only, which the others cannot work on.
ATTESTED = frozenset({"keys recording register"})


PORTFOLIO: dict[str, Any] = {"base": "USD", "targets": {"EQ": "1"}, "policy": "drift", "source": "house"}
PERIOD = ("--from", "2020-01-01", "--to", "2099-12-31")
HISTORY = {
    "id": "1",
    "stream": "client-1",
    "type": "client.registered",
    "occurred_at": "2020-02-29T00:00:00Z",
    "actor": {"id": "ann", "kind": "human", "role": "advisor"},
    "data": {"client_id": "of long ago"},
}


class Scene(NamedTuple):
    """What the commands work on: a ledger with a request and a checkpoint, its key, and a folder."""

    url: str
    folder: Path
    key: SigningKey
    # The id of a legal hold.
    hold: int
    # The ids of erasures that wait.
    erasure: int
    other_erasure: int

    def arguments(self, command: str, url: str | None = None) -> list[str]:
        """Return the command with its arguments, for this ledger or that at another `url`."""
        given = [*command.split(), *map(str, self._given()[command])]
        without = command in {"demo", "case-file"} or command.startswith("witness")
        return given if without else [*given, "--database-url", url or self.url]

    def _given(self) -> Mapping[str, list[object]]:
        key, new = ("--key", self.folder / "log.key"), self.folder / "new"
        recording = ("--recording-key", self.folder / "recording.key")
        witness = [("--key", self.folder / "key"), ("--state", self.folder / "state")]
        at: list[object] = [part for pair in witness for part in pair]
        return {
            "serve": ["--port", 0, "--no-worker"],
            "migrate": [],
            "rebuild": [],
            "status": [],
            "orphans": [],
            "expire": [],
            "access": [],
            "case": [1],
            "client": ["client-1"],
            "replay": ["--request", 1],
            "verify": [],
            "sign": ["--once", *key],
            "export": ["--request", 1, "--output", new, *key],
            "case-file": [self.folder / "case.zip", "--output", new],
            "monitor run": ["--as-of", "2026-03-02"],
            "monitor replay": ["--run", 1],
            "monitor would-be": ["--run", 1],
            "monitor actions": [self.folder / "actions.csv"],
            "monitor flows": [self.folder / "flows.csv"],
            "monitor valuations": [self.folder / "valuations.csv"],
            "monitor holdings": [self.folder / "holdings.ndjson"],
            **{f"monitor recorded {what}": [] for what in ("actions", "flows", "valuations")},
            "jobs list": [],
            "jobs show": [1],
            "jobs cancel": [1],
            "monitor escalate": [],
            "monitor keygen": [f"desk-{uuid4().hex}"],  # a name has one key
            "monitor endpoints add": [f"desk-{uuid4().hex}", "--url", "https://x.example/in", "--receiver", "advisor"],
            "monitor endpoints list": [],
            "monitor endpoints rotate": ["desk", "--hours", 0],
            "monitor endpoints remove": ["desk"],
            "monitor deliveries list": [],
            "monitor deliveries resend": [1, "--reason", "it is back"],
            "backup": ["--output", new],
            "restore": [new],
            "demo": ["--clients", 1, "--years", 1],
            "clients add": ["C-1", "--subject", "advisor"],
            "clients alias": [1, "C-1"],
            "clients list": [],
            "clients show": [1],
            "clients assign": [1, "--group", "zurich"],
            "clients unassign": [1, "--subject", "advisor"],
            "clients merge": [1, "--into", 2],
            "clients import": [self.folder / "assignments.ndjson"],
            "import": [self.folder / "history.ndjson", "--source", "old"],
            "samples draw": [*PERIOD, "--size", 1, "--reviewer", "compliance", "--weight", "amount:1000:3"],
            "samples list": [],
            "samples show": [1],
            "samples redraw": [1],
            "reviews queue": ["--all"],
            "holds place": [2, "--reason", "an inquiry"],
            "holds list": [],
            "holds release": [self.hold, "--reason", "it is over"],
            "erase": [1, "--reason", "client-request", "--dry-run"],
            "erasures confirm": [self.erasure],
            "erasures decline": [self.other_erasure, "--rationale", "not this one"],
            "erasures list": [],
            "erasures show": [self.erasure],
            "erasures certificate": [self.erasure],
            "erasures scrub": [],
            "erasures propose": [],
            "erasures dispose": [],
            "erasures keep": [new],
            "erasures reapply": [self.folder / "kept", "--key", self.folder / "log.pub"],
            "subjects add": ["somebody", "--role", "auditor", "--token"],
            "subjects list": [],
            "subjects show": ["advisor"],
            "subjects grant": ["advisor", "auditor", "--until", "2040-01-01", "--client", 1],
            "subjects revoke": ["advisor", "advisor"],
            "subjects suspend": ["advisor", "--reason", "on leave"],
            "subjects resume": ["auditor", "--reason", "back"],
            "subjects join": ["advisor", "zurich"],
            "subjects leave": ["auditor", "zurich"],
            "subjects changes": ["--state", "pending"],
            "credentials issue": ["advisor", "--expires", "2040-01-01"],
            "credentials rotate": ["advisor", "--grace", "1h"],
            "credentials revoke": ["advisor", 1],
            "credentials register-key": ["advisor", "--key", new],
            "credentials register-identity": ["advisor", "--sub", "ada", "--issuer", "https://id.example"],
            "credentials list": [],
            "keys generate": ["--origin", "example", "--key", new],
            "keys show": [*key],
            "keys rotate": [*key],
            "keys recording generate": ["--origin", "example", "--recording-key", new],
            "keys recording show": [*recording],
            "keys recording register": [SigningKey.generate("l/recording").verifier.text, *recording],
            "keys recording rotate": [*recording],
            "witness keygen": ["--name", "w", "--key", new, "--state", self.folder / "new-state"],
            "witness serve": [*at, "--port", 0, "--log", SigningKey.generate("l").verifier.text],
            "witness status": [*at],
        }


def scene(url: str, folder: Path) -> Scene:
    """Make what the commands work on."""
    with connect(url, "writer") as conn:
        append(conn, new("request-", requested()))
        for number, client_id in enumerate(("one", "two"), 1):
            append(conn, new(f"client-{number}", ClientRegistered(client_id=client_id, subject="advisor")))
        append(conn, new("portfolio-p1", PortfolioDefined(client_id="one", client=1, **PORTFOLIO)))
        [held] = append(conn, new("client-1", LegalHoldPlaced(reason="an inquiry")))
        waiting = [_waiting(conn, number) for number in (3, 4)]
        _failed(conn)
        _decided(conn)
        conn.execute(ASK, [uuid7(), "export", '{"export":1}', "advisor", DAY_S, 1])  # not before tomorrow
    (folder / "assignments.ndjson").write_text('{"client": 1, "group": "bern"}\n')
    (folder / "actions.csv").write_text("asset,date,action,ratio\nEQ,2026-03-02,split,2:1\n")
    (folder / "holdings.ndjson").write_text('{"portfolio": "p1", "as_of": "2026-03-02", "positions": {"EQ": "2"}}\n')
    flows = "portfolio,reference,date,kind,amount,currency\np1,7,2026-03-02,cash-in,5,USD\n"
    (folder / "flows.csv").write_text(flows)
    valued = "portfolio,as_of,source,currency,asset,value\np1,2026-03-02,bank,USD,EQ,5\n"
    (folder / "valuations.csv").write_text(valued)
    (folder / "history.ndjson").write_bytes(orjson.dumps(HISTORY) + b"\n")
    (folder / "kept").touch()
    make_tokens(url)
    record(url, "auditor", SubjectSuspended(reason="on leave"), SubjectGroupJoined(group="zurich"))
    key = key_for(url)
    (folder / "log.key").write_text(key.reveal() + "\n")
    (folder / "log.key").chmod(0o600)
    sign(url, key, folder / "log.key.last")
    with connect(url, "verifier") as conn, (folder / "case.zip").open("w+b") as file:
        write_bundle(conn, Selection("request", request=1), Disclosure(everything=True), file)
    recording_keys.generate(key.verifier.name, folder / "recording.key")
    keygen(folder)
    _give_key(url)
    asyncio.run(judge(url))
    _catch_up_all(url)
    (folder / "log.pub").write_text(key.verifier.text, "utf-8")
    asyncio.run(sample(url))
    _catch_up_all(url)
    return Scene(url, folder, key, held.position, *waiting)


@contextlib.contextmanager
def copied(server_url: str, made: Scene, search_path: str, folder: Path) -> Iterator[Scene]:
    """Yield a copy of a scene whose database nobody is connected to; making one takes forty times as long."""
    shutil.copytree(made.folder, folder, dirs_exist_ok=True)
    template = Template(str(conninfo_to_dict(made.url)["dbname"]), search_path)
    with ledger_copy(server_url, template) as url:
        _give_key(url)
        yield made._replace(url=url, folder=folder)


def _give_key(url: str) -> None:
    """Make the key of the scene's endpoint, which is kept outside the ledger."""
    keys = endpoint_keys_folder(Settings(database_url=url))
    assert keys is not None
    write_keys(keys, "desk", [make_key("v1")])


def _catch_up_all(url: str) -> None:
    """Fold what is new into each read model, as no server runs that would."""
    for read_model in all_models():
        catch_up(url, read_model)


def _decided(conn: Connection) -> None:
    """Append a case with a decision."""
    [answer] = append(conn, new("request-", requested()))[:1]
    (given,) = append(conn, new(answer.stream, recommended()))
    append(conn, new(answer.stream, decided(given.position)))


def _failed(conn: Connection) -> None:
    """Append an endpoint, and a message to it that was given up: the dead letter 1."""
    append(conn, new("endpoint-desk", EndpointDefined(url="https://x.example/in", receivers=["advisor"])))
    append(conn, new("delivery-", DeliveryPlanned(run=1, endpoint="desk", decisions=[1])))
    append(conn, new("delivery-1", DeliveryAttempted(attempt=1, decisions=[1], keys=[])))
    append(conn, new("delivery-1", DeliveryEnded(attempt=1, outcome="failed", reason="gone", status=410, final=True)))


def _waiting(conn: Connection, number: int) -> int:
    """Append a client and the request to erase it; return its id."""
    counts = {"clients": [number], "streams": 1, "events": 1, "values": 1}
    asked = ErasureRequested(reason="client-request", expires_at="2100-01-01T00:00:00Z", **counts)
    append(conn, new(f"client-{number}", ClientRegistered(client_id=f"client {number}")))
    [row] = append(conn, new(f"client-{number}", asked))
    return row.position


async def judge(url: str) -> None:
    """Run monitoring once."""
    async with opened(url) as [ledger]:
        await run(ledger, "2026-03-01")


async def sample(url: str) -> None:
    """Draw a sample of one decision."""
    wanted = DrawSample(
        decided_from="2020-01-01T00:00:00Z", decided_to="2100-01-01T00:00:00Z", size=1, reviewers=["compliance"]
    )
    async with opened(url) as [ledger]:
        await ledger.samples.draw(CLERK, wanted, finding(ledger, wanted))


def leaves(commands: Mapping[str, Any], *path: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its name in full."""
    for name, found in commands.items():
        if isinstance(found, TyperGroup):
            yield from leaves(found.commands, *path, name)
        else:
            yield " ".join((*path, name)), found


EVERY = dict(leaves({name: load(name) for name in COMMANDS}))
