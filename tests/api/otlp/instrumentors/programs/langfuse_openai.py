"""Langfuse's SDK: its wrapped client, and observations by hand. Its exporter is replaced by one to the ledger."""

from langfuse import Langfuse
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

langfuse = Langfuse(public_key="public", secret_key="secret", span_exporter=OTLPSpanExporter())

from langfuse.openai import OpenAI  # noqa: E402 - it takes the client that was made before
from questions import ask  # noqa: E402

ask(OpenAI)
with (
    langfuse.start_as_current_observation(name="review", as_type="agent"),
    langfuse.start_as_current_observation(name="by hand", as_type="generation", model="m-1", input="SECRET?") as made,
):
    made.update(output="SECRET!", usage_details={"input": 3, "output": 4})
langfuse.flush()
langfuse.shutdown()
