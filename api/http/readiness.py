"""List the reasons for which a process is not ready, and warnings. Each names the failure and, if possible, the
remedy.

`/readyz` and `advice-ledger status` decide here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from api.jobs.recurring import FailedWork
from ledger.background import WorkerStatus
from ledger.errors import Unavailable
from ledger.store.head import Clocks
from ledger.store.writer import ENDED
from ledger.store.writer_health import WriterStatus
from ledger.tlog.serve.newest_checkpoint import NotCovered
from ledger.wording import counted
from projections.health import LAST_CALLS, CallCount, ReadModelLag, failing_agents
from projections.set_aside import SetAside

# Report a missing signature after so many intervals, and after so many seconds, if events wait.
INTERVALS = 10
LEAST_WAIT_S = 10.0
# The same limit as in clock_is_ahead().
CLOCKS_DIFFER_S = 300.0
# Stream heads are recorded at the first check of a day (UTC), so an event waits for little more than a day.
HEADS_WAIT_S = 36 * 3600.0


def recording(writer: WriterStatus) -> Iterator[str]:
    """Yield the reason if nothing can be recorded."""
    if writer.ended is not None:
        yield f"{ENDED} ({writer.ended})"
    elif writer.failing_s:
        yield f"nothing can be recorded, for {writer.failing_s:.0f} s now: {writer.cause}"


def authenticating(error: Unavailable) -> str:
    """Return the reason that no token can be looked up."""
    return f"callers cannot be authenticated, perhaps as another session holds a lock on the table credentials: {error}"


def answering(worker: WorkerStatus) -> Iterator[str]:
    """Yield the reason if the worker answers no requests."""
    if worker.state == "failing":
        yield f"the worker of this process answers no requests: {worker.error}"
    elif worker.state == "stopped":
        yield f"the worker of this process has ended: restart the server ({worker.error})"


def working(jobs: WorkerStatus) -> Iterator[str]:
    """Yield the reason if this process runs no jobs."""
    if jobs.state == "failing":
        yield f"the jobs of this process do not run: {jobs.error}"
    elif jobs.state == "stopped":
        yield f"the jobs of this process have ended: restart the server ({jobs.error})"


def recurring(failed: Sequence[FailedWork]) -> Iterator[str]:
    """Name the recurring work whose last run failed. It is tried again, so this is only a warning."""
    for work in failed:
        yield f"the job {work.kind} has failed ({work.error}): it runs again by itself; the log and GET /jobs say more"


def reading(read_models: Sequence[ReadModelLag], patience_s: float) -> Iterator[str]:
    """Name the read models that cannot be read consistently."""
    for state in read_models:
        if state.error:
            yield f"the read model {state.name} is stopped: run advice-ledger rebuild"
        elif state.lag < 0:
            yield f"the read model {state.name} is beyond the last event: run advice-ledger rebuild"
        elif state.stalled_s > patience_s:
            yield (
                f"the read model {state.name} is {counted(state.lag, 'event')} behind and has not moved for"
                f" {state.stalled_s:.0f} s: the log of the process that has its lock says why"
            )
    if not read_models:
        yield "no read model was built: run advice-ledger rebuild"


def set_aside(found: Sequence[SetAside], most: int) -> Iterator[str]:
    """Name up to `most` streams that a fold cannot process. All others can be read, so this is only a warning."""
    yield from map(str, found[:most])
    if len(found) > most:
        yield "more streams were set aside: advice-ledger status lists them"


def signing(signer: WorkerStatus, waiting: NotCovered, every_s: float, up_s: float) -> Iterator[str]:
    """Report that nothing is signed, by this process or by the leading one; `up_s` is the age of this process."""
    limit_s = max(INTERVALS * every_s, LEAST_WAIT_S)
    if signer.state == "refused":
        yield refusal(signer)
    elif waiting.events and min(waiting.waiting_s, up_s) > limit_s:
        wait = f"{counted(waiting.events, 'event')} wait{'s' if waiting.events == 1 else ''}"
        why = signer.error or "this process follows, and the one that leads does not sign"
        if signer.state == "leads":
            why = "this process leads, and has not signed yet"
        yield f"nothing was signed for {waiting.waiting_s:.0f} s, and {wait}: {why}"


def recording_heads(waiting_s: float, recorder: WorkerStatus | None) -> Iterator[str]:
    """Report that the ends of streams are not recorded. `recorder` is this process's, if it leads the signing."""
    if recorder is not None and recorder.error is not None:
        yield f"where streams end cannot be recorded: {recorder.error}"
    elif waiting_s > HEADS_WAIT_S:
        yield (
            f"where streams end was not recorded for {waiting_s / 3600:.0f} h, although events were: the process that"
            " signs does it each day, after it has run for five minutes"
        )


def answering_calls(calls: Sequence[CallCount]) -> Iterator[str]:
    """Name the agents whose calls all fail."""
    for agent in failing_agents(calls):
        yield f"the last {LAST_CALLS} calls of the agent {agent} have all failed"


def unsigned(sizes: Sequence[int]) -> Iterator[str]:
    """Report checkpoints that somebody added to the database without the key. They are not served."""
    if sizes:
        listed = ", ".join(map(str, sizes))
        yield (
            f"the database has checkpoints that the log's key did not sign, of size {listed}: they are not served,"
            " and somebody has the signer's login"
        )


def verifying(verifier: WorkerStatus) -> Iterator[str]:
    """Report that the chain is not verified, by this process or by the leading one."""
    if verifier.error is not None:
        yield f"continuous verification {'fails' if verifier.state == 'failing' else 'stands still'}: {verifier.error}"


def clocks_differ(clocks: Clocks, now_s: float) -> Iterator[str]:
    """Report that the database's clock is so far ahead of ours that it may refuse events: clock_is_ahead() in SQL."""
    if clocks.now_s - now_s > CLOCKS_DIFFER_S:
        yield f"the database's clock is {clocks.now_s - now_s:.0f} s ahead of this machine's: correct the clocks"


def refusal(signer: WorkerStatus) -> str:
    """Report that the signer refused to continue."""
    return f"nothing is signed any more: {signer.error}"
