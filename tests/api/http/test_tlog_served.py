"""The log of the program as it is run: witnesses come and go, the leader is killed, the database is an older copy."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from psycopg.conninfo import conninfo_to_dict

from ledger.proof.tlog.checkpoint import WitnessKey, open_checkpoint
from ledger.proof.tlog.merkle import leaf_hashes, root_of
from ledger.tlog.sign import keys
from ledger.tlog.sign.rotate import beside
from ledger.tlog.signing_keys import SigningKey
from tests.api.program import Serving, cli, serving, variables
from tests.api.served import ASK, ASKS, ledger_copy, make_tokens, problem
from tests.api.witness.processes import keygen, witnessing
from tests.conftest import Template
from tests.ledger.tlog.logs import fill, hashes, key_for, sign
from tests.support import connect, eventually

QUICKLY = variables(sign_every=0.1)


@pytest.fixture
def url(server_url: str, template_database: Template) -> Iterator[str]:
    """A ledger; chain and read models are checked in the end."""
    with ledger_copy(server_url, template_database) as found:
        yield found


@pytest.fixture
def path(url: str, tmp_path: Path) -> Path:
    """A key for it, in a file."""
    keys.generate(key_for(url).verifier.name, tmp_path / "log.key")
    return tmp_path / "log.key"


def options(url: str, path: Path) -> tuple[object, ...]:
    """Options of a server that signs, without a worker."""
    return ("--database-url", url, "--no-worker", "--key", path)


def write(server: Serving, token: str) -> int:
    """The size of a checkpoint that covers a new request."""
    headers = {"Authorization": f"Bearer {token}", "Prefer": "wait=30"}
    answer = httpx.post(server.base + ASKS, json=ASK, headers=headers, timeout=60)
    assert answer.headers.get("preference-applied") == "wait", answer.text
    return int(answer.headers["ledger-checkpoint-size"])


def checkpoint(server: Serving) -> dict[str, Any]:
    """The checkpoint in /readyz, of a server that is ready."""
    answer = httpx.get(f"{server.base}/readyz").raise_for_status()
    found: dict[str, Any] = answer.json()["checkpoint"]
    return found


def cosigners(server: Serving, key: SigningKey, witnesses: list[WitnessKey]) -> tuple[int, int]:
    """The size of the checkpoint that is served, and how many of the witnesses have cosigned it, verified."""
    note = httpx.get(f"{server.base}/checkpoint").content
    found = open_checkpoint(note, key.verifier.name, [key.verifier], witnesses)
    return found.checkpoint.size, len(found.witnesses)


@pytest.mark.slow
def test_a_witness_that_goes_and_comes_back(url: str, path: Path, tmp_path: Path) -> None:
    """Both cosign; without one the log goes on, and /readyz, /metrics and status say so; back again, it cosigns."""
    key = keys.read(path)
    folders = [tmp_path / "1", tmp_path / "2"]
    with contextlib.ExitStack() as stack:
        witnesses, asked, processes = [], [], []
        for folder in folders:
            folder.mkdir()
            witnesses.append(keygen(folder, f"witness.example/{folder.name}"))
            base, process = stack.enter_context(witnessing(folder, key.verifier.text))
            asked.append(f"{base}={witnesses[-1].text}")
            processes.append((base, process))
        endorsers = variables(witnesses=asked, witness_quorum=2)
        server = stack.enter_context(serving(*options(url, path), env=endorsers | QUICKLY))
        token = server.tokens()["advisor"]
        both = write(server, token)
        eventually("both", lambda: cosigners(server, key, witnesses) == (both, 2))
        base, process = processes[1]
        process.kill()
        process.wait()
        alone = write(server, token)
        eventually("one", lambda: checkpoint(server)["witnessed"]["witnesses"][0]["size"] == alone)
        assert cosigners(server, key, witnesses) == (both, 2), "for a minute readers are shown what has its quorum"
        found = eventually("its name", lambda: (c := checkpoint(server))["witnessed"]["witnesses"][1]["error"] and c)
        assert (found["size"], found["witnessed"]["size"], found["witnessed"]["needed"]) == (alone, both, 2)
        names = [f"{one.name}+{one.key_id:08x}" for one in witnesses]
        assert [(one["name"], one["size"]) for one in found["witnessed"]["witnesses"]] == [
            (names[0], alone),
            (names[1], both),
        ]
        assert found["witnessed"]["witnesses"][0]["error"] is None
        told = httpx.get(f"{server.base}/metrics").text
        assert f"advice_ledger_checkpoint_witnessed_size {both}.0\n" in told
        for name, troubled in zip(names, (0, 1), strict=True):
            assert f'advice_ledger_witness_failing{{witness="{name}"}} {troubled}.0\n' in told
        status = cli("status", "--key", path, "--json", "--database-url", url, env=endorsers).json()["log"]
        assert (status["size"], status["cosignatures"], status["not_covered"]) == (alone, 1, 0)
        assert (status["witnesses_needed"], status["witnessed_size"]) == (2, both)
        stack.enter_context(witnessing(folders[1], key.verifier.text, port=int(base.rpartition(":")[2])))
        eventually("both again", lambda: cosigners(server, key, witnesses) == (alone, 2))
        last = write(server, token)
        eventually("both", lambda: cosigners(server, key, witnesses) == (last, 2))
        found = eventually("a quorum", lambda: (c := checkpoint(server))["witnessed"]["size"] == last and c)
        assert [one["error"] for one in found["witnessed"]["witnesses"]] == [None, None]


@pytest.mark.slow
def test_the_follower_leads_after_the_leader_is_killed(url: str, path: Path) -> None:
    """One of two servers leads; after kill -9 the other does, and all checkpoints ever shown are one history."""
    key = keys.read(path)
    shown: dict[int, set[bytes]] = {}

    def look(*servers: Serving) -> None:
        for server in servers:
            if (answer := httpx.get(f"{server.base}/checkpoint")).is_success:
                size = open_checkpoint(answer.content, key.verifier.name, [key.verifier]).checkpoint.size
                shown.setdefault(size, set()).add(answer.content)

    def signers(*servers: Serving) -> list[str]:
        return [checkpoint(server)["signer"] for server in servers]

    with serving(*options(url, path), env=QUICKLY) as first:
        token = first.tokens()["advisor"]
        with serving(*options(url, path), env=QUICKLY) as second:
            eventually("one leads", lambda: signers(first, second) == ["leads", "follows"])
            for server in (first, second) * 3:
                write(server, token)
                look(first, second)
            first.process.send_signal(signal.SIGKILL)
            first.process.wait()
            for _ in range(3):
                write(second, token)
                look(second)
            assert signers(second) == ["leads"]
            with serving(*options(url, path), env=QUICKLY) as third:
                eventually("it follows", lambda: signers(second, third) == ["leads", "follows"])
    with connect(url) as conn:
        notes = dict(conn.execute("SELECT size, note FROM checkpoints").fetchall())
        leaves = leaf_hashes(hashes(conn))
    assert len(notes) >= 9
    for size, seen in shown.items():
        assert seen == {notes[size].encode()}
    for size, note in notes.items():
        signed = open_checkpoint(note.encode(), key.verifier.name, [key.verifier]).checkpoint
        assert (signed.size, signed.root) == (size, root_of(leaves[:size]))


def test_an_older_copy_of_the_database_is_not_signed(url: str, path: Path, server_url: str) -> None:
    """On an older copy the server answers, records and signs nothing, and says why: in its log and, 503, in /readyz."""
    key = keys.read(path)
    tokens = make_tokens(url)
    fill(url, 3)
    before = sign(url, key, beside(path, "last"))
    with ledger_copy(server_url, Template(str(conninfo_to_dict(url)["dbname"]), "")) as yesterday:
        fill(url, 2)
        size = sign(url, key, beside(path, "last"))
        assert size == before + 2
        kept = beside(path, "last").read_bytes()
        with serving(*options(yesterday, path), env=QUICKLY) as server:
            answer = eventually("a refusal", lambda: (r := httpx.get(f"{server.base}/readyz")).status_code == 503 and r)
            found = answer.json()
            said = (
                f"the database has {before} events, and a checkpoint over {size} was signed: an older copy was restored"
            )
            assert [reason for reason in found["reasons"] if said in reason and "docs/operate/tlog.md" in reason]
            assert (found["checkpoint"]["signer"], found["checkpoint"]["size"]) == ("refused", before)
            assert server.err.count(said) == 1
            headers = {"Authorization": f"Bearer {tokens['advisor']}"}
            problem(httpx.post(server.base + ASKS, json=ASK, headers=headers), 503, "log-refused")
            assert cosigners(server, key, [])[0] == before
            assert httpx.get(f"{server.base}/readyz").status_code == 503
        assert beside(path, "last").read_bytes() == kept
