"""Events with members that no client of the service can send, as somebody with the writer's role appends them."""

from __future__ import annotations

import json
from typing import Any

from ledger.database import Connection
from ledger.store.envelope import NewEvent
from tests.projections.scenes import SECRET, recommended
from tests.support import append_text, line, new, requested


def poisoned(event: NewEvent, *, actor: Any = ..., data: Any = ..., **changes: Any) -> str:
    """Return the line of an event with other members of data; None takes a member out.

    `actor` and `data` replace these members of the body.
    """
    return spoil(line(event), actor=actor, data=data, **changes)


def spoil(text: str, *, actor: Any = ..., data: Any = ..., **changes: Any) -> str:
    """Change a line as poisoned() does, and write it canonically again."""
    content = json.loads(text)
    members = content["body"]["data"] | changes
    content["body"]["data"] = {name: value for name, value in members.items() if value is not None}
    for name, value in {"actor": actor, "data": data}.items():
        if value is not ...:
            content["body"][name] = value
    return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def poison(conn: Connection, stream: str = "request-") -> str:
    """Append a request whose amount is not a number; or to an existing request, a recommendation without a model.

    Return the stream. In the first case portfolio_requests cannot show it, in the second ai_recommendations.
    """
    if stream.endswith("-"):
        text = poisoned(new(stream, requested("client-9")), amount_usd=SECRET)
    else:
        text = poisoned(new(stream, recommended()), model_name=None)
    return str(append_text(conn, text)[0].stream)
