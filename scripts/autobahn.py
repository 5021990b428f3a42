"""Proof by a third party: our websocket server against the Autobahn test suite, the reference for RFC 6455.

    .venv/bin/python scripts/autobahn.py [--cases "7.*"] [--out report]

The suite is a websocket client that breaks the rules in 247 ways and looks at how the server takes it. Left out are 9.*
(a benchmark), 12.* and 13.* (compression, which we do not offer). It runs on Python 2.7 only, in an environment of its
own, and so as a subprocess:

    python3 -m venv .venv-autobahn/maker
    .venv-autobahn/maker/bin/pip install virtualenv==20.21.1    # the last that knows Python 2.7
    .venv-autobahn/maker/bin/virtualenv --python python2.7 .venv-autobahn
    .venv-autobahn/bin/pip install -r scripts/autobahn-requirements.txt

Prints a summary; the exit status is 1 if a case failed that is not among ``KNOWN``.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.system import processes  # noqa: E402  # from the project's folder

WSTEST = ROOT / ".venv-autobahn" / "bin" / "wstest"
AGENT = "gateway"  # our name in the suite's report
ALL, LEFT_OUT = ("*",), ("9.*", "12.*", "13.*")
CASES = 247  # of ALL: the suite does not report a case whose handshake was refused
# A close frame amid a fragmented message: websockets answers 1002 and not 1000, which the RFC leaves open.
KNOWN = {"7.1.5"}
VERDICTS = ("OK", "NON-STRICT", "INFORMATIONAL", "FAILED")
SUITE_TIMEOUT = 300.0  # seconds; a run takes twelve
BEGUN = re.compile(r"^Running test case ID (\S+) for agent", re.MULTILINE)
UNREACHABLE = re.compile(r"^Connection to .* failed", re.MULTILINE)  # then the suite ends early, as if all was well

Results = Mapping[str, str]  # verdict by case


def main() -> None:
    arguments = parser().parse_args()
    if not arguments.wstest.exists():
        sys.exit(f"there is no {arguments.wstest}; how to install it is said at the top of {Path(__file__).name}")
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as temporary,
        processes.process("tests.system.echo", "--port", "0", environment={"PYTHONPATH": str(ROOT)}) as url,
    ):
        results = run(arguments.wstest, url, cases=arguments.cases, out=arguments.out or Path(temporary))
    print(summary(results, seconds=time.monotonic() - began))
    failed = {case for case, each in results.items() if each == "FAILED"}
    if arguments.cases == ALL and len(results) != CASES:
        sys.exit(f"there should have been {CASES}")
    sys.exit(bool(failed - KNOWN))


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--cases", nargs="+", default=ALL, help='like "5.*" or 7.1.5')
    options.add_argument("--out", type=Path, help="a folder that keeps the suite's report: index.html, a page per case")
    options.add_argument("--wstest", type=Path, default=WSTEST, help="the suite's command")
    return options


def run(wstest: Path, url: str, *, cases: Sequence[str], out: Path) -> Results:
    """Let the suite loose on ``url``; what became of each case, those it began and never ended included."""
    specification = {
        "outdir": str(out.resolve()),
        "servers": [{"agent": AGENT, "url": url.replace("http://", "ws://") + "/"}],
        "cases": list(cases),
        "exclude-cases": list(LEFT_OUT),
        "exclude-agent-cases": {},
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "index.json").unlink(missing_ok=True)  # of an earlier run
    written = out / "specification.json"
    written.write_text(json.dumps(specification))
    suite = subprocess.run(
        [wstest, "--mode", "fuzzingclient", "--spec", written],
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        capture_output=True,
        text=True,
        timeout=SUITE_TIMEOUT,
        check=False,
    )
    if suite.returncode or UNREACHABLE.search(suite.stdout) or not (out / "index.json").exists():
        sys.exit(f"the suite did not run to its end:\n{suite.stdout[-2_000:]}{suite.stderr[-2_000:]}")
    reports = json.loads((out / "index.json").read_text()).get(AGENT, {})
    return {case: verdict(reports.get(case)) for case in BEGUN.findall(suite.stdout)}


def verdict(report: Mapping[str, Any] | None) -> str:
    """As the suite counts: a case is as good as the worse of what was received and how the connection ended."""
    if report is None:
        return "FAILED"
    return max(
        (each if each in VERDICTS else "FAILED" for each in (report["behavior"], report["behaviorClose"])),
        key=VERDICTS.index,
    )


def summary(results: Results, *, seconds: float) -> str:
    lines = [f"{len(results)} cases in {seconds:.0f} s"]
    for name in VERDICTS:
        cases = [case for case, each in results.items() if each == name]
        shown = [] if name == "OK" else [f"{case} (known)" if case in KNOWN else case for case in cases]
        lines.append(f"{name:<14}{len(cases):>4}  {' '.join(shown)}".rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    main()
