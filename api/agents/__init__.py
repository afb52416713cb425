"""Agents answer portfolio requests. `protocol` defines them, `registry` makes one by name, `run` runs them.

`builtin` is a rule table, `optimiser` computes on prices, `openai` asks a language model. See docs/use/agents.md.
"""
