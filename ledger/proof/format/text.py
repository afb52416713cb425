"""Decode text files as editors and shells save them."""

from __future__ import annotations

from codecs import BOM_UTF16_BE, BOM_UTF16_LE


def decoded(data: bytes) -> str:
    """Decode UTF-8, or UTF-16 with a byte order mark, which is dropped. Raises UnicodeDecodeError."""
    return data.decode("utf-16" if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig")
