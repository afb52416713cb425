"""The HTTP server: uvicorn with bounded connections, and without a header that names it."""

from __future__ import annotations

from typing import Any, cast

import uvicorn

from api.http.connections import Connections, TellConnection

# Sent with every answer, also with those of uvicorn itself. Pages have styles and no scripts; everything comes from
# here.
HEADERS = [
    ("Content-Security-Policy", "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
]


def server_config(app: Any, *, connections: Connections | None = None, **options: Any) -> uvicorn.Config:
    """Make uvicorn's configuration for an application; `options` are uvicorn's own."""
    bounded = connections or Connections()
    return uvicorn.Config(
        TellConnection(app),
        # uvicorn only calls it; its type says that it is a class.
        http=cast("Any", bounded.protocol),
        ws="none",
        headers=HEADERS,
        server_header=False,
        **options,
    )
