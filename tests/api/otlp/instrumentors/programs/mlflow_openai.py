"""MLflow's automatic tracing, and a span by hand."""

import mlflow
from questions import MESSAGES, ask

mlflow.openai.autolog()
ask()
with mlflow.start_span("review", span_type="AGENT"), mlflow.start_span("by hand", span_type="CHAT_MODEL") as made:
    made.set_inputs({"messages": MESSAGES, "model": "m-1"})
    made.set_outputs({"role": "assistant", "content": "SECRET!"})
    made.set_attribute("mlflow.chat.tokenUsage", {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7})
