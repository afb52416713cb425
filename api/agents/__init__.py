"""Agents: what answers a portfolio request. `protocol` says how one is asked, `choose` finds one by name.

`builtin` is a rule table, `optimiser` computes on prices, `openai_compatible` asks a language model. docs/use/agents.md.
"""
