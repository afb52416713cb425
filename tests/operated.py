"""Run the commands of a page for operators, in order, in one bash that stops at the first failure."""

from __future__ import annotations

import pwd
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.api.pasted import FENCED
from tests.api.program import PROGRAM, environment
from tests.paths import DOCS

TIMEOUT_S = 300
# `advice-ledger` is that of the tests. PostgreSQL's programs refuse to run as root: they run as the folder's owner.
FUNCTIONS = """\
set -euo pipefail
advice-ledger() {{ {python} -c {program} "$@"; }}
as_server() {{
  if [ "$(id -u)" != 0 ]; then "$@"; else setpriv --reuid {account} --regid {account} --clear-groups "$@"; fi
}}
binaries={binaries}
for name in {programs}; do eval "$name() {{ as_server $binaries/$name \\"\\$@\\"; }}"; done
"""


def blocks(page: str, *, after: str = "", until: str = "", instead: Mapping[str, str] | None = None) -> list[str]:
    """Return the blocks of shell of docs/operate/PAGE, between two headings if they are given.

    `instead` maps words of the page to the words that replace them.
    """
    text = (DOCS / "operate" / page).read_text("utf-8")
    for heading in filter(None, (after, until)):
        assert f"\n{heading}\n" in text, heading
    text = text.partition(f"\n{after}\n")[2] if after else text
    text = text.partition(f"\n{until}\n")[0] if until else text
    for word, value in (instead or {}).items():
        assert word in text, word
        text = text.replace(word, value)
    found = [content for kind, content in FENCED.findall(text) if kind == "sh"]
    assert found, page
    return found


def run_script(script: str, folder: Path, binaries: Path, **env: str) -> str:
    """Run a script in `folder`; return what it prints. Data folders that it makes belong to the owner of `folder`."""
    functions = FUNCTIONS.format(
        python=shlex.quote(sys.executable),
        program=shlex.quote(PROGRAM),
        account=pwd.getpwuid(folder.stat().st_uid).pw_name,
        programs=" ".join(sorted(path.name for path in binaries.iterdir())),
        binaries=shlex.quote(str(binaries)),
    )
    done = subprocess.run(
        ["bash", "-c", functions + script],
        cwd=folder,
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    logs = "\n".join(path.read_text() for path in folder.glob("*.log"))
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}\n{logs}"
    return done.stdout
