"""The kinds of jobs that `serve` runs. docs/explain/jobs.md says how to add one."""

from __future__ import annotations

from api.jobs.deliveries import DELIVER
from api.jobs.exports import EXPORT
from api.jobs.kept_erasures import KEEP_ERASURES
from api.jobs.kind import AnyKind

KINDS: tuple[AnyKind, ...] = (EXPORT, DELIVER, KEEP_ERASURES)
