"""The client's wheel, installed alone in a fresh virtual environment, records on a running server."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.api.served import Api
from tests.paths import ROOT

MAX_MODULES = 100
OURS = ("api", "ledger", "projections", "schema")
SCRIPT = """
import json, sys
from advice_ledger_client import LedgerClient
modules = len(sys.modules)
base, advisor_token, agent_token = sys.argv[1:]
with LedgerClient(base, advisor_token) as advisor, LedgerClient(base, agent_token) as agent:
    queued = advisor.request_recommendation(client_id="client-1", risk_profile="balanced", amount_usd="1000.00")
    with agent.model_call(queued.request_id, provider_name="p", request_model="m", input_messages=["Half?"]) as call:
        call.complete(["Yes."])
    answer = {"weights": {"cash": "1.0000"}}
    agent.record_recommendation(
        queued.request_id, recommendation=answer, model_name="m", model_call_id=call.model_call_id
    )
    row = advisor.wait_for_recommendation(queued.request_id)
print(json.dumps({"modules": modules, "row": row, "loaded": sorted(sys.modules)}))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the client's wheel and what the wheel says that it needs, only.

    The dependencies are copied from this environment, so that no package index is needed.
    """
    folder = tmp_path_factory.mktemp("alone")
    build = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, *build, str(ROOT / "client")], check=True, timeout=120)
    [wheel] = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv/bin/python"
    [site] = (folder / "venv/lib").glob("python*/site-packages")
    install = ["-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([sys.executable, *install], check=True, timeout=120)
    [installed] = metadata.distributions(path=[str(site)])
    for name in needed(installed):
        copy(metadata.distribution(name), site)
    return python


def needed(installed: metadata.Distribution) -> set[str]:
    """Names of the distributions that this one needs, without extras, and of those that they need."""
    names: set[str] = set()
    queue = [installed]
    while queue:
        for text in queue.pop().requires or ():
            requirement = Requirement(text)
            wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if wanted and requirement.name not in names:
                names.add(requirement.name)
                queue.append(metadata.distribution(requirement.name))
    return names


def copy(distribution: metadata.Distribution, site: Path) -> None:
    """Copy a distribution's files, except programs, which are outside site-packages."""
    for file in distribution.files or ():
        if ".." not in file.parts and file.suffix != ".pyc":
            target = site / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(Path(str(file.locate())).read_bytes())


def run(python: Path, *arguments: str) -> str:
    """The output of an isolated interpreter, without this repository on its path."""
    done = subprocess.run([python, "-I", *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_alone_records_on_a_server(python: Path, fresh_api: Api) -> None:
    """A request, a model call and a recommendation; none of the server's code is there, or needed."""
    found = json.loads(
        run(python, "-c", SCRIPT, fresh_api.base, fresh_api.tokens["advisor"], fresh_api.tokens["agent"])
    )
    assert (found["row"]["state"], found["row"]["recommendation"]) == ("proposed", {"weights": {"cash": "1.0000"}})
    assert [name for name in found["loaded"] if name.partition(".")[0] in OURS] == []
    assert found["modules"] < MAX_MODULES


def test_importing_the_client_is_light(python: Path) -> None:
    """Fewer than a hundred modules, Python's own included: httpx is loaded when a client is made."""
    code = "import sys, advice_ledger_client; print(len(sys.modules), 'httpx' in sys.modules)"
    count, httpx = run(python, "-c", code).split()
    assert int(count) < MAX_MODULES
    assert httpx == "False"
