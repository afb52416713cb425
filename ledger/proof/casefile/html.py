"""Write a document as one HTML page: no script, nothing from elsewhere, all text escaped, made for paper as well."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator
from hashlib import sha256
from html import escape

from ledger.proof.casefile.document import Block, Facts, Heading, Paragraph, Table, visible

# Colours are literal: printing is light whatever the theme. Heads of tables repeat on each page.
_STYLE = """
:root { color-scheme: light }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 68rem; padding: 0 1rem; color: #1b1f24;
  background: #fff; overflow-wrap: anywhere }
h1 { font-size: 1.6rem }
h2 { font-size: 1.3rem; margin-top: 2.5rem; border-bottom: 2px solid #1b1f24 }
h3 { font-size: 1.05rem; margin-top: 1.5rem }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 }
th, td { border-bottom: 1px solid #d0d7de; padding: .3rem .5rem; text-align: left; vertical-align: top }
td, p, pre { white-space: pre-wrap }
thead th { border-bottom: 2px solid #8c959f }
tbody th { width: 11rem; font-weight: 600 }
pre { margin: 0; font-size: 13px }
.note { background: #fff8c5; padding: .6rem 1rem; border: 1px solid #d4a72c }
@media print {
  @page { size: A4; margin: 16mm 14mm }
  body { font-size: 9.5pt; margin: 0; max-width: none; padding: 0 }
  h2.page { break-before: page }
  h1, h2, h3 { break-after: avoid }
  thead { display: table-header-group }
  a { color: inherit; text-decoration: none }
}
"""
_POLICY = f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'"


def html(title: str, blocks: Iterable[Block]) -> Iterator[bytes]:
    """Yield the page in pieces."""
    yield (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width">\n<title>{_text(title)}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n"
    ).encode("utf-8", "replace")
    for block in blocks:
        for piece in _block(block):
            yield piece.encode("utf-8", "replace")
    yield b"</body>\n</html>\n"


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Heading):
        anchor = f' id="{_text(block.anchor)}"' if block.anchor else ""
        page = ' class="page"' if block.new_page else ""
        yield f"<h{block.level}{anchor}{page}>{_text(block.text)}</h{block.level}>\n"
    elif isinstance(block, Paragraph):
        note = ' class="note"' if block.note else ""
        yield f"<p{note}>{_text(block.text)}</p>\n"
    elif isinstance(block, Facts):
        yield "<table>\n<tbody>\n"
        for name, value in block.rows:
            yield f'<tr><th scope="row">{_text(name)}</th><td>{_text(value)}</td></tr>\n'
        yield "</tbody>\n</table>\n"
    elif isinstance(block, Table):
        yield from _table(block)
    else:
        yield f"<pre>{_text(block.text)}</pre>\n"


def _table(table: Table) -> Iterator[str]:
    head = "".join(f'<th scope="col">{_text(name)}</th>' for name in table.head)
    yield f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n"
    for number, row in enumerate(table.rows):
        cells = [_text(cell) for cell in row]
        if table.anchors:
            cells[0] = f'<a href="#{_text(table.anchors[number])}">{cells[0]}</a>'
        yield f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>\n"
    yield "</tbody>\n</table>\n"


def _text(value: str) -> str:
    return escape(visible(value))
