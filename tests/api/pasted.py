"""Paste the commands of a page, in order, into a bash with curl, and compare their output with that of the page."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.api.program import environment

# Fenced blocks: commands, Python files, and the text that the commands before it print.
FENCED = re.compile(r"^```(sh|python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
END = "---end of a block---"
ADDRESS = "http://127.0.0.1:8000"
TIMEOUT_S = 600
# Pages wait in loops that sleep 0.1 s. After an answer that nobody expected, such a loop would never end.
PATIENT = """\
sleep() {
  [ "$((++slept))" -lt 900 ] || { echo "waited too long" >&2; exit 1; }
  command sleep "$@"
}
"""

# curl that appends the status of each response to a file, and ends its output with a newline.
CURL = """\
curl() {
  command curl -sS -D headers "$@" || return
  awk 'NR == 1 { print $2 }' headers >> statuses
  echo
}
"""


@dataclass
class Pasted:
    """Pages as one script for a server, and the text that each block of shell should print (None: no text follows).

    `instead` maps words of the page to the words that replace them, such as tokens.
    """

    base: str
    instead: Mapping[str, str]
    script: str = ""
    expected: list[str | None] = field(default_factory=list)

    def add(self, page: str) -> Pasted:
        """Append the blocks of a page. A block of Python becomes the file that the text before it names."""
        end = 0
        for block in FENCED.finditer(page):
            kind, content = block.groups()
            match kind:
                case "sh":
                    self.script += f"{self._as_served(content)}echo '{END}'\n"
                    self.expected.append(None)
                case "python":
                    [name] = re.findall(r"`(\w+\.py)`", page[end : block.start()])
                    self.script += f"cat > {name} <<'{END}'\n{self._as_served(content)}{END}\n"
                case "text":
                    assert self.expected[-1] is None
                    self.expected[-1] = content
            end = block.end()
        return self

    def _as_served(self, text: str) -> str:
        for word, value in self.instead.items():
            text = text.replace(word, value)
        return text.replace(ADDRESS, self.base).replace(".venv/bin/", f"{Path(sys.executable).parent}/")

    def run(self, folder: Path, **variables: str) -> list[tuple[str, str | None]]:
        """Run the script in a folder. Return for each block of shell what it printed and what it should print."""
        done = subprocess.run(
            ["bash", "-c", PATIENT + self.script],
            cwd=folder,
            env=environment(**variables),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        printed = done.stdout.replace("\r", "").split(f"{END}\n")[:-1]
        assert len(printed) == len(self.expected), f"{done.stdout}\n{done.stderr}"
        return list(zip(printed, self.expected, strict=True))


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def check(printed: str, expected: str, *, any_number: bool = False) -> None:
    """Assert that the output is as expected.

    In `expected`, "…" stands for a part of a line, and alone on a line for one or more lines. With `any_number`, each
    integer stands for any integer.
    """
    lines = [
        "(?:.*\n)+" if line == "…" else re.escape(line).replace("…", ".+") + "\n" for line in expected.splitlines()
    ]
    pattern = "".join(lines)
    if any_number:
        pattern = re.sub(r"\d+", r"\\d+", pattern)
    assert re.fullmatch(pattern, printed), f"printed:\n{printed}\nexpected:\n{expected}"
