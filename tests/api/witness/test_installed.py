"""The ledger's own application can be a witness for others: the same answers, without a token, and nothing recorded."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

from api.app import create_app
from api.services import Parts
from api.witness.app import MOST_REQUESTS
from api.witness.store import WitnessStore, make_store
from api.witness.witness import Witness
from ledger.tlog.add_checkpoint import MAX_REQUEST_BYTES
from ledger.tlog.signing_keys import SigningKey, WitnessSigningKey
from tests.api.served import Api, listening, make_tokens
from tests.api.witness.logs import Log, logs_of

HALF = b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"


def test_serve_cosigns_and_leaves_its_own_ledger_alone(database_url: str, tmp_path: Path, log_key: SigningKey) -> None:
    """Beside everything else; the ledger's own events are not touched."""
    key = WitnessSigningKey.generate("witness.example/w1")
    make_store(tmp_path / "state", key.verifier.text)
    log = Log(log_key)
    with contextlib.closing(WitnessStore(tmp_path / "state", key.verifier.text)) as state:
        witness = Witness(key, logs_of(log_key.verifier), state)
        app = create_app(Parts(database_url, run_worker=False, witness=witness))
        with listening(app) as base:
            api = Api(database_url, base, make_tokens(database_url), app)
            with api.client, api.records_nothing():
                answer = api.call("POST", "/add-checkpoint", None, content=log.request(0, 5))
                assert (answer.status_code, answer.text[:2]) == (200, "\u2014 ")
                answer = api.call("POST", "/add-checkpoint", None, content=log.request(0, 9))
                assert (answer.status_code, answer.text) == (409, "5\n")
                assert answer.headers["content-type"] == "text/x.tlog.size"
                over = b"x" * (MAX_REQUEST_BYTES + 1)
                assert api.call("POST", "/add-checkpoint", None, content=over).status_code == 413
                assert api.get("/healthz", None).status_code == 200
                counted = 'advice_ledger_http_responses_total{method="POST",route="/add-checkpoint",status="409"} 1.0'
                assert counted in api.get("/metrics", None).text


def test_callers_of_the_witness_never_delay_the_ledger(database_url: str, tmp_path: Path, log_key: SigningKey) -> None:
    """With as many half-sent requests as the witness takes, one more is 503, and the ledger's own routes answer."""
    key = WitnessSigningKey.generate("witness.example/w1")
    make_store(tmp_path / "state", key.verifier.text)
    with contextlib.ExitStack() as stack:
        state = stack.enter_context(contextlib.closing(WitnessStore(tmp_path / "state", key.verifier.text)))
        witness = Witness(key, logs_of(log_key.verifier), state)
        app = create_app(Parts(database_url, run_worker=False, witness=witness))
        base = stack.enter_context(listening(app))
        api = Api(database_url, base, make_tokens(database_url), app)
        stack.enter_context(api.client)
        host, port = base.removeprefix("http://").split(":")
        for _ in range(MOST_REQUESTS):
            conn = stack.enter_context(socket.create_connection((host, int(port)), timeout=30))
            conn.sendall(HALF)
            assert conn.recv(1000).startswith(b"HTTP/1.1 100 ")
        log = Log(log_key)
        refused = api.call("POST", "/add-checkpoint", None, content=log.request(0, 5))
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert api.asked() == 1
        assert api.get("/portfolio/requests").status_code == 200
