"""Authorities that send their certificates in any order, as OpenSSL 3.0 does with a chain: their tokens are stored."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.tlog.endorse.certificate_order import with_sorted_certificates
from ledger.tlog.endorse.timestamp_client import checked_token
from tests.ledger.tlog.endorse.test_timestamp_client import NO_OPENSSL, make_signer, openssl

x509 = pytest.importorskip("cryptography.x509")
rfc3161 = pytest.importorskip("rfc3161_client", reason="the extra `timestamps` is not installed")
pytestmark = NO_OPENSSL


def test_a_token_with_a_chain_in_any_order_is_accepted(tmp_path: Path) -> None:
    """In one of two orders the set is not DER and the library refuses it; sorted, both verify, and for OpenSSL too."""
    signer, other = make_signer(tmp_path / "tsa"), make_signer(tmp_path / "other")
    roots = x509.load_pem_x509_certificates(signer.root.read_bytes())
    pems = [signer.root.read_text(), other.root.read_text()]
    refused = 0
    for chain in ("".join(pems), "".join(reversed(pems))):
        (tmp_path / "chain.pem").write_text(chain)
        request = rfc3161.TimestampRequestBuilder(b"note", rfc3161.HashAlgorithm.SHA256).build()
        raw = signer.stamp(request.as_bytes(), "-chain", tmp_path / "chain.pem")
        try:
            rfc3161.decode_timestamp_response(raw)
        except ValueError:
            refused += 1
        token = checked_token(raw, b"note", request.nonce, roots, datetime.now(UTC))
        (tmp_path / "token.der").write_bytes(token)
        (tmp_path / "note").write_bytes(b"note")
        stored = ("-token_in", "-in", tmp_path / "token.der")
        openssl("ts", "-verify", *stored, "-data", tmp_path / "note", "-CAfile", signer.root)
        assert len(with_sorted_certificates(raw)) == len(raw)
        assert with_sorted_certificates(with_sorted_certificates(raw)) == with_sorted_certificates(raw)
    assert refused > 0


@given(raw=st.binary(max_size=60) | st.binary(max_size=60).map(lambda rest: b"\x30\x80\x30\x00\x30" + rest))
def test_other_bytes_stay_as_they_are(raw: bytes) -> None:
    """Whatever an authority sends, nothing raises, and what has no certificates is not changed."""
    assert sorted(with_sorted_certificates(raw)) == sorted(raw)
