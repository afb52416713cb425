"""Convert messages of chat APIs to the form of OpenTelemetry's conventions: `[{"role", "parts": […]}]`.

Members that have no place in that form stay beside it with their names. A value that is not a message stays as it is.
"""

from __future__ import annotations

from typing import Any

from api.otlp.attributes import structured

# Members of a message that become parts.
BECOME_PARTS = frozenset({"content", "contents", "parts", "role", "tool_call_id", "tool_calls"})


def conversation(value: Any) -> Any:
    """Return messages in the conventions' form: of a list, of one message, or the value itself."""
    content = structured(value)
    if isinstance(content, dict) and "role" in content:
        content = [content]
    if isinstance(content, list):
        return [message(item) for item in content] or None
    return content if content not in ("", {}) else None


def message(value: Any) -> Any:
    """Return one message in the conventions' form; anything that is not `{"role", …}` as it is."""
    if not isinstance(value, dict) or "role" not in value or "parts" in value:
        return value
    rest = {name: member for name, member in value.items() if name not in BECOME_PARTS and member is not None}
    return {"role": value["role"], "parts": _parts(value), **rest}


def said(role: str, *parts: dict[str, Any] | None) -> list[dict[str, Any]] | None:
    """Return one message of these parts, or None without parts."""
    spoken = [part for part in parts if part is not None]
    return [{"role": role, "parts": spoken}] if spoken else None


def text_part(content: Any, kind: str = "text") -> dict[str, Any] | None:
    """Return a part with text, or None without text."""
    return {"type": kind, "content": content} if content not in (None, "") else None


def tool_call(identity: Any, name: Any, arguments: Any) -> dict[str, Any]:
    """Return the part for a call of a tool."""
    return {"type": "tool_call", "id": identity, "name": name, "arguments": structured(arguments)}


def _parts(value: dict[str, Any]) -> list[Any]:
    content = value.get("content") if value.get("content") is not None else value.get("contents")
    pieces = content if isinstance(content, list) else [content]
    if value["role"] == "tool" and "tool_call_id" in value:
        return [{"type": "tool_call_response", "id": value["tool_call_id"], "response": content}]
    calls = value.get("tool_calls")
    parts = [*map(_piece, pieces), *(map(_call, calls) if isinstance(calls, list) else [calls])]
    return [part for part in parts if part is not None]


def _piece(piece: Any) -> Any:
    """Return a part for one piece of a message's content. Unknown kinds stay as they are."""
    if not isinstance(piece, dict):
        return text_part(piece)
    match piece.get("type"):
        case "text":
            return text_part(piece.get("text")) if set(piece) <= {"type", "text"} else piece
        case "tool-call":
            return tool_call(piece.get("toolCallId"), piece.get("toolName"), piece.get("input", piece.get("args")))
        case "tool-result":
            result = piece.get("output", piece.get("result"))
            return {"type": "tool_call_response", "id": piece.get("toolCallId"), "response": result}
    return piece


def _call(call: Any) -> Any:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return call
    return tool_call(call.get("id"), function.get("name"), function.get("arguments"))
