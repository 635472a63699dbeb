#!/usr/bin/env python3
"""Plays the demo, and lets schemathesis ask it whatever the schema allows: as an administrator, as a salesperson, as nobody.

    python3 mailroom.py PROGRAM SCHEMA [EXAMPLES]     (examples of each root field: 20)

Half of what is asked fits the schema, half breaks it in one place. Each of the three has a company of its own, with live mail. It fails where the server does, where an answer is not what the
schema says, and where the log tells of an error.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
START_SECONDS = 120
ROLES = {"administrator": "Administrator", "salesperson": "Salesperson", "nobody": None}


def start(program, folder):
    """The demo once its company is there: process, address, tokens by role."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder), "MAILROOM_LOG": "warn"}
    out = open(folder / "out", "w+b")
    demo = subprocess.Popen(
        [program, "demo", "--listen", "127.0.0.1:0", "--pause", "1000"],
        env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=open(folder / "log", "wb"),
    )
    begun = time.monotonic()
    while time.monotonic() - begun < START_SECONDS and demo.poll() is None:
        said = (folder / "out").read_text(encoding="utf-8")
        if "The live timeline." in said:
            address = re.search(r"http://\S+/graphiql", said).group().replace("graphiql", "graphql")
            tokens = dict(re.findall(r"  (Administrator|Salesperson)\s+(mr_\S+)", said))
            return demo, address, tokens
        time.sleep(0.2)
    demo.kill()
    raise SystemExit(f"the demo did not start: {(folder / 'log').read_text()[-2000:]}")


def stop(demo):
    """The second time it no longer waits for mail that the play has led astray."""
    while demo.poll() is None:
        demo.send_signal(signal.SIGINT)
        try:
            demo.wait(timeout=2)
        except subprocess.TimeoutExpired:
            continue


def viewers(address, tokens):
    import requests

    ids = []
    for token in tokens.values():
        answer = requests.post(address, json={"query": "{ viewer { id } }"}, headers={"Authorization": f"Bearer {token}"}, timeout=30)
        ids.append(answer.json()["data"]["viewer"]["id"])
    return ids


def play(program, schema, examples, name, seed):
    with tempfile.TemporaryDirectory(prefix="mailroom-schemathesis-") as place:
        folder = Path(place)
        folder.chmod(0o755)
        demo, address, tokens = start(program, folder)
        tally = folder / "tally.json"
        environment = os.environ | {
            "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1", "MAILROOM_URL": address, "MAILROOM_SCHEMA": schema,
            "MAILROOM_ADMINISTRATOR": tokens["Administrator"], "MAILROOM_SPARED": ",".join(viewers(address, tokens)),
            "MAILROOM_TALLY": str(tally),
        }
        command = [
            str(Path(sys.executable).parent / "schemathesis"), "run", schema, "--url", address, "--phases", "fuzzing",
            "--checks", "answers_as_promised", "--max-examples", str(examples), "--seed", str(seed), "--continue-on-failure",
            "--no-shrink", "--warnings", "off", "--request-timeout", "60", "--suppress-health-check", "all",
        ]
        if ROLES[name]:
            command += ["--header", f"Authorization: Bearer {tokens[ROLES[name]]}"]
        begun = time.monotonic()
        passed = subprocess.run(command, env=environment, cwd=folder, check=False).returncode == 0
        seconds = time.monotonic() - begun
        lives = demo.poll() is None
        stop(demo)
        log = (folder / "log").read_text(encoding="utf-8", errors="replace")
        blamed = [line for line in log.splitlines() if re.search(r"ERROR mailroom|panicked", line)]
        counted = json.loads(tally.read_text()) if tally.exists() else {}
        print(json.dumps({"as": name, "seconds": round(seconds), "passed": passed, "lives": lives, "errors logged": len(blamed), **counted}))
        for line in blamed[:20]:
            print(f"  {line}")
        return passed and lives and not blamed


def main():
    program, schema = (str(Path(argument).resolve()) for argument in sys.argv[1:3])
    examples = int(sys.argv[3]) if len(sys.argv) > 3 else 20
    wanted = sys.argv[4].split(",") if len(sys.argv) > 4 else list(ROLES)
    results = [play(program, schema, examples, name, seed) for seed, name in enumerate(wanted, 1)]
    sys.exit(0 if all(results) else 1)


main()
