"""Check the form of an endorser's URL, where it is configured and where it is used."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx


def check_url(url: str) -> None:
    """Raise ValueError unless `url` is an http or https URL. The message omits the URL, which may hold a password."""
    if not (url.isascii() and url.isprintable()) or " " in url:
        raise ValueError("not a URL")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("not an http or https URL")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError("a URL with a password, a query or a fragment")
    try:
        httpx.URL(url)
        _ = parts.port
    except (httpx.InvalidURL, ValueError):
        raise ValueError("not a URL") from None
