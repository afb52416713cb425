"""Sort the certificates in a timestamp response, as DER requires for a set (X.690 section 11.6).

OpenSSL 3.0 (`ts -reply -chain`) leaves them in the order of its configuration, and `rfc3161-client` refuses that. The
signature on a token does not cover the certificates, and sorting changes no length. All other bytes keep their values
and places.
"""

from __future__ import annotations

from typing import NamedTuple

SEQUENCE, CONTEXT_0 = 0x30, 0xA0
# The way to the certificates: TimeStampResp, its token (RFC 3161), ContentInfo, its content, SignedData (RFC 5652).
# Each step is the tag to look for first, inside the element before.
WAY = ((SEQUENCE, 1), (CONTEXT_0, 0), (SEQUENCE, 0), (CONTEXT_0, 0))


class Element(NamedTuple):
    """A DER element: its tag, and the offsets of its beginning, of its content and of its end."""

    tag: int
    start: int
    content: int
    end: int


class NotDer(ValueError):
    """The bytes are not DER of this shape."""


def with_sorted_certificates(response: bytes) -> bytes:
    """Return the response with its certificates in order; unchanged, if it has none."""
    try:
        certificates = _certificates(response)
        encoded = [response[each.start : each.end] for each in _inside(response, certificates)]
    except NotDer:
        return response  # the parser that reads it next reports the fault
    return response[: certificates.content] + b"".join(sorted(encoded)) + response[certificates.end :]


def _certificates(response: bytes) -> Element:
    found = _element(response, 0, len(response))
    for tag, nth in WAY:
        found = _nth(response, found, tag, nth)
    return found


def _nth(raw: bytes, outer: Element, tag: int, nth: int) -> Element:
    """Return the nth element with this tag inside another one. Raises NotDer."""
    same = [element for element in _inside(raw, outer) if element.tag == tag]
    if len(same) <= nth:
        raise NotDer
    return same[nth]


def _inside(raw: bytes, outer: Element) -> list[Element]:
    elements, at = [], outer.content
    while at < outer.end:
        elements.append(_element(raw, at, outer.end))
        at = elements[-1].end
    return elements


def _element(raw: bytes, at: int, end: int) -> Element:
    """Read the header of the element at a place. Raises NotDer unless it ends before `end`."""
    if at + 2 > end:
        raise NotDer
    tag, length, content = raw[at], raw[at + 1], at + 2
    if length & 0x80:
        octets = length & 0x7F
        content += octets
        length = int.from_bytes(raw[at + 2 : content], "big")
    if content + length > end:
        raise NotDer
    return Element(tag, at, content, content + length)
