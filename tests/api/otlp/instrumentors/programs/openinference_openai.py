"""OpenInference's instrumentor (Arize Phoenix)."""

from openinference.instrumentation.openai import OpenAIInstrumentor
from questions import ask, exporting

provider = exporting()
OpenAIInstrumentor().instrument(tracer_provider=provider)
ask()
provider.shutdown()
