"""List the kinds of jobs that `serve` runs. docs/explain/jobs.md says how to add one."""

from __future__ import annotations

from api.jobs.deliveries import DELIVER
from api.jobs.disposals import DISPOSE
from api.jobs.erased_exports import DELETE_EXPORT_FILES
from api.jobs.exports import EXPORT
from api.jobs.kept_erasures import KEEP_ERASURES
from api.jobs.kind import AnyKind
from api.jobs.recurring import RECURRING

KINDS: tuple[AnyKind, ...] = (EXPORT, DELIVER, KEEP_ERASURES, DELETE_EXPORT_FILES, DISPOSE, *RECURRING)
