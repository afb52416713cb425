"""The instrumentors of other projects that are run: their programs, and how each is pointed at the ledger."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.paths import ROOT

HERE = Path(__file__).parent
# Made by `make test-instrumentors`.
ENVIRONMENT = ROOT / ".venv-instrumentors"
RUN_S = 120


@dataclass(frozen=True)
class Instrumentor:
    """A program that asks a model's endpoint under an instrumentor. `package` is that of the instrumentor."""

    name: str
    package: str
    program: str
    settings: Mapping[str, str] = field(default_factory=dict)

    def run(self, vendor: str, receiver: str, token: str) -> None:
        """Run the program to its end: it asks the `vendor` and exports to the `receiver`. Raises CalledProcessError."""
        interpreter = "node" if self.program.endswith(".mjs") else "python"
        # Node looks for packages above the program, so this one runs beside the packages.
        program = HERE / "programs" / self.program
        if interpreter == "node":
            program = ENVIRONMENT / self.program
            program.write_text((HERE / "programs" / self.program).read_text("utf-8"), "utf-8")
        subprocess.run(
            [ENVIRONMENT / "bin" / interpreter, program],
            env=self._environment(vendor, receiver, token),
            check=True,
            timeout=RUN_S,
        )

    def _environment(self, vendor: str, receiver: str, token: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(ENVIRONMENT),
            "OPENAI_API_KEY": "none",
            "OPENAI_BASE_URL": f"{vendor}/v1",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{receiver}/v1/traces",
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"{receiver}/v1/logs",
            "OTEL_EXPORTER_OTLP_HEADERS": f"Authorization=Bearer%20{token}",
            **self.settings,
        }


CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
# MLflow asks its tracking server for nothing when it exports over OTLP, but wants to know of one.
NO_SERVER = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
GEN_AI = "opentelemetry-instrumentation-genai-openai"
INSTRUMENTORS = (
    Instrumentor("openinference", "openinference-instrumentation-openai", "openinference_openai.py"),
    Instrumentor("langfuse", "langfuse", "langfuse_openai.py"),
    Instrumentor("mlflow", "mlflow-tracing", "mlflow_openai.py", NO_SERVER),
    Instrumentor(
        "mlflow-gen-ai",
        "mlflow-tracing",
        "mlflow_openai.py",
        {**NO_SERVER, "MLFLOW_ENABLE_OTEL_GENAI_SEMCONV": "true"},
    ),
    Instrumentor("vercel", "ai", "vercel.mjs"),
    Instrumentor("openllmetry", "opentelemetry-instrumentation-openai", "openllmetry_openai.py"),
    Instrumentor("opentelemetry-spans", GEN_AI, "opentelemetry_openai.py", {CONTENT: "SPAN_ONLY"}),
    Instrumentor("opentelemetry-events", GEN_AI, "opentelemetry_openai.py", {CONTENT: "EVENT_ONLY"}),
)
