"""The page for auditors is published as it is in the package."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

from tests.api.served import Api
from tests.paths import DOCS, ROOT


def test_the_published_digest_is_that_of_the_file(api: Api) -> None:
    """The docs, the header of the server and the file agree; the server gives it as a download, which runs nothing."""
    data = (ROOT / "ledger/proof/browser/verify.html").read_bytes()
    assert sha256(data).hexdigest() in (DOCS / "use/auditor.md").read_text("utf-8")
    answer = api.get("/verify.html", None)
    assert answer.content == data
    assert answer.headers["content-digest"] == f"sha-256=:{b64encode(sha256(data).digest()).decode()}:"
    assert answer.headers["content-disposition"].startswith("attachment")
