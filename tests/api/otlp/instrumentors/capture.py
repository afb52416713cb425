"""Write what the instrumentors export to tests/api/otlp/exports: `python -m tests.api.otlp.instrumentors.capture`.

The fast tests map these files. Stack traces and the like, which name paths of the machine, are left out.
"""

from __future__ import annotations

import gzip
from typing import Any

import orjson

from api.otlp.encoding import decode, request_json
from api.otlp.signals import LOGS, TRACES
from tests.api.otlp.instrumentors.fake_openai import Handler, listening
from tests.api.otlp.instrumentors.instrumentors import HERE, INSTRUMENTORS

EXPORTS = HERE.parent / "exports"
LEFT_OUT = ("exception.stacktrace", "service.instance.id", "service.name")


def main() -> None:
    """Run each instrumentor, and write its exports to a file of its name."""
    for instrumentor in INSTRUMENTORS:
        received: dict[str, list[dict[str, Any]]] = {"traces": [], "logs": []}

        class Receiver(Handler):
            """A receiver that accepts everything."""

            def answer(self, body: bytes) -> tuple[int, str, bytes]:
                """Keep an export."""
                content = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
                signal = TRACES if self.path.endswith(TRACES.name) else LOGS
                request = decode(content, "application/x-protobuf", signal)
                received[signal.name].append(request_json(signal, request))  # noqa: B023 - it stops before the next one
                return 200, "application/x-protobuf", b""

        with listening() as vendor, listening(Receiver) as receiver:
            instrumentor.run(vendor, receiver, "none")
        for signal, exports in received.items():
            if exports:
                content = orjson.dumps(without(exports))
                (EXPORTS / f"{instrumentor.name}.{signal}.json").write_bytes(content + b"\n")


def without(content: Any) -> Any:
    """Return JSON without the attributes that are left out."""
    if isinstance(content, list):
        return [without(item) for item in content if not (isinstance(item, dict) and item.get("key") in LEFT_OUT)]
    return {key: without(value) for key, value in content.items()} if isinstance(content, dict) else content


if __name__ == "__main__":
    main()
