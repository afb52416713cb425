"""Serve GET /verify.html: the page with which an auditor checks a bundle in a browser, offline.

It is a download: the page runs a script, and no script runs on this server's origin. The auditor compares its SHA-256
with the one in docs/use/auditor.md, and opens the saved file.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import Response

import ledger.proof.browser

PAGE = (Path(ledger.proof.browser.__file__).parent / "verify.html").read_bytes()
# RFC 9530: the SHA-256 of the file.
HEADERS = {
    "Cache-Control": "max-age=300",
    "Content-Digest": f"sha-256=:{b64encode(sha256(PAGE).digest()).decode()}:",
    "Content-Disposition": 'attachment; filename="verify.html"',
}


def install(app: FastAPI) -> None:
    """Serve the page."""

    @app.get("/verify.html", include_in_schema=False)
    async def verify_page() -> Response:
        return Response(PAGE, headers=HEADERS, media_type="text/html")
