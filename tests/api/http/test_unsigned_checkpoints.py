"""Checkpoints that somebody with the signer's login adds, without the key: refused, or not served."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest

from ledger.export.bundle import Disclosure, write_bundle
from ledger.proof.bundle.selection import Selection
from ledger.proof.tlog.checkpoint import Checkpoint, WitnessKey, open_checkpoint
from ledger.tlog.endorse.endorsers import EndorserConfig
from ledger.tlog.quorum import WitnessConfig, WitnessPolicy
from ledger.tlog.signing_keys import SigningKey, WitnessSigningKey, sign_checkpoint
from ledger.verify.continuous import VerificationConfig
from tests.api.served import Api, problem, served
from tests.ledger.tlog.logs import fill, key_for, sign, signing
from tests.support import connect, refused

ADD = "INSERT INTO checkpoints (size, note) VALUES (%s, %s)"
SIGNED, FORGED = 10, 15


def note(origin: str, size: int) -> str:
    """Make a checkpoint with a root of no tree, signed with a new key of the ledger's name."""
    return sign_checkpoint(Checkpoint(origin, size, bytes(32)), SigningKey.generate(origin)).encode().decode()


def test_what_is_no_checkpoint_is_refused(database_url: str) -> None:
    """As the signer: other text, another ledger, another size, events that are not recorded, more or fewer lines."""
    fill(database_url, 3)
    name = key_for(database_url).verifier.name
    good = note(name, 3)
    bad = [
        (9_000_000_000_000_000_000, "x"),
        (3, "x"),
        (3, ""),
        (3, note("example.org/other", 3)),
        (3, note(name, 2)),
        (2, good),
        (4, note(name, 4)),
        (9_000_000_000_000_000_000, note(name, 9_000_000_000_000_000_000)),
        (3, good + good.splitlines()[-1] + "\n"),
        (3, good.rpartition("\n\n")[0] + "\n"),
        (3, good.removesuffix("\n")),
        (3, good.replace("\n3\n", "\n03\n")),
    ]
    with connect(database_url, "signer") as conn:
        for size, text in bad:
            with refused("AL011"):
                conn.execute(ADD, [size, text])
        with conn.transaction(force_rollback=True):
            conn.execute(ADD, [3, good])


def served_size(api: Api, key: SigningKey) -> int:
    """Return the size of the checkpoint that readers get, which the key must have signed."""
    response = api.get("/checkpoint", None)
    assert response.status_code == 200, response.text
    return open_checkpoint(response.content, key.verifier.name, [key.verifier]).checkpoint.size


@pytest.fixture
def forged(database_url: str, tmp_path: Path) -> tuple[str, SigningKey, Path]:
    """A ledger that is signed up to 10, with forged checkpoints over 3, 14 and 15 events; its key and state file."""
    key, state = key_for(database_url), tmp_path / "last"
    fill(database_url, SIGNED)
    assert sign(database_url, key, state) == SIGNED
    fill(database_url, FORGED - SIGNED)
    with connect(database_url, "signer") as conn:
        for size in (3, FORGED - 1, FORGED):
            conn.execute(ADD, [size, note(key.verifier.name, size)])
    return database_url, key, state


@pytest.mark.tampers  # the forged checkpoints stay
def test_a_forged_checkpoint_is_not_served(forged: tuple[str, SigningKey, Path]) -> None:
    """Readers, proofs, tiles and bundles keep to the last one that was signed; `/readyz` and metrics report it."""
    url, key, _ = forged
    with served(url, verification=VerificationConfig(keys=(key.verifier,))) as api:
        assert served_size(api, key) == SIGNED
        assert api.get("/proofs/inclusion/3").json()["size"] == SIGNED
        problem(api.get(f"/proofs/inclusion/{FORGED}"), 404, "not-covered")
        for width, status in ((SIGNED, 200), (FORGED, 404)):
            assert api.get(f"/tile/0/000.p/{width}", None).status_code == status
            assert api.get(f"/tile/entries/000.p/{width}", None).status_code == status
        assert api.call("GET", "/proofs/consistency?from=3", "auditor").json()["to"] == SIGNED
        ready = api.get("/readyz", None).json()
        assert ready["checkpoint"]["size"] == SIGNED
        # Continuous verification records what it finds.
        assert ready["checkpoint"]["not_covered"] == ready["position"] - SIGNED
        assert any("did not sign, of size 15, 14: they are not served" in text for text in ready["warnings"])
        assert "advice_ledger_checkpoints_unsigned 2.0" in api.get("/metrics", None).text
    with connect(url, "verifier") as conn:
        selection = Selection("positions", first_position=1, last_position=SIGNED)
        manifest = write_bundle(conn, selection, Disclosure(), io.BytesIO(), keys=[key.verifier.text])
    assert manifest.checkpoint_size == SIGNED


@pytest.mark.tampers  # the forged checkpoints stay
def test_a_forged_checkpoint_does_not_stop_the_signer(
    forged: tuple[str, SigningKey, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """A signer that starts takes it for not there. Where it has the size of the next one, that is skipped."""
    caplog.set_level(logging.ERROR)
    url, key, state = forged
    for size in (FORGED, FORGED + 1):
        with signing(url, key, state) as signer:
            signed = signer.step()
            assert (signed and signed.size, signer.step()) == (size, None)
        fill(url, 1)
    assert "a checkpoint over 15 events that the key did not sign is in the way of ours" in caplog.text
    with served(url, verification=VerificationConfig(keys=(key.verifier,))) as api:
        assert served_size(api, key) == FORGED + 1
        assert api.get("/proofs/inclusion/12").json()["size"] == FORGED + 1


def test_a_false_cosignature_is_left_out(database_url: str, tmp_path: Path) -> None:
    """As the signer: lines that are no signature, and one in a witness's name that does not hold, reach no reader."""
    key, witness = key_for(database_url), WitnessSigningKey.generate("witness.example")
    fill(database_url, SIGNED)
    sign(database_url, key, tmp_path / "last")
    with connect(database_url, "signer") as conn:
        ((text,),) = conn.execute("SELECT note FROM checkpoints").fetchall()
        true = witness.cosign(text.partition("\n\n")[0] + "\n", 1_700_000_000)
        false = true._replace(blob=true.blob[:-1] + bytes([true.blob[-1] ^ 1]))
        unknown = WitnessSigningKey.generate("other.example").cosign(text.partition("\n\n")[0] + "\n", 1_700_000_000)
        for number, line in enumerate((false.line, "garbage\n", "\n\n\n", true.line, unknown.line, "no newline")):
            conn.execute("INSERT INTO cosignatures (size, witness, line) VALUES (%s, %s, %s)", [SIGNED, number, line])
    policy = WitnessPolicy(
        (WitnessConfig("http://127.0.0.1:1", WitnessKey(witness.verifier.name, witness.verifier.public)),)
    )
    verification = VerificationConfig(keys=(key.verifier,))
    with served(database_url, verification=verification, endorsers=EndorserConfig(policy)) as api:
        notes = [api.get("/checkpoint", None).text, api.get("/proofs/inclusion/3").json()["checkpoint"]]
    for found in notes:
        opened = open_checkpoint(found.encode(), key.verifier.name, [key.verifier], [witness.verifier])
        assert (opened.checkpoint.size, opened.witnesses, len(opened.unknown)) == (SIGNED, (true,), 1)
