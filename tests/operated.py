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


def run_page(
    page: str, folder: Path, binaries: Path, *, instead: Mapping[str, str] | None = None, before: str = "", **env: str
) -> str:
    """Run the blocks of shell of docs/operate/PAGE in `folder`, after the lines `before`; return what they print.

    `instead` maps words of the page to the words that replace them. Data folders that the commands make belong to the
    owner of `folder`.
    """
    text = (DOCS / "operate" / page).read_text("utf-8")
    for word, value in (instead or {}).items():
        assert word in text, word
        text = text.replace(word, value)
    blocks = [content for kind, content in FENCED.findall(text) if kind == "sh"]
    assert blocks, page
    functions = FUNCTIONS.format(
        python=shlex.quote(sys.executable),
        program=shlex.quote(PROGRAM),
        account=pwd.getpwuid(folder.stat().st_uid).pw_name,
        programs=" ".join(sorted(path.name for path in binaries.iterdir())),
        binaries=shlex.quote(str(binaries)),
    )
    script = "\n".join([functions, before, *blocks])
    done = subprocess.run(
        ["bash", "-c", script],
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
