"""A physicist's day, on a machine of their own: log in, find data, see where they are, ask for a copy, see it wait, be
told. All of it is typed; nothing but the server's address and a password is known there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from demo.airflow_api import Airflow
from demo.instance import ROOT, DemoError, Instance
from demo.people import GROUP, password_of
from demo.up import database_url, grid
from dynamo_ops.database.connection import Database

Say = Callable[[str], None]
NAME, MAIL = "phil", "phil@localhost"
SITE = "T2_FF"
DAG_IDS = (f"dealer_{GROUP}", "transfers", "events")
WAIT_S = 600
WISHED_SQL = """
    SELECT d.name FROM datasets d
    WHERE d.status = 'valid' AND d.num_files > 0 AND d.size_bytes < 1000000
      AND EXISTS (SELECT FROM block_replicas r JOIN sites s ON s.id = r.site_id
                  WHERE r.dataset_id = d.id AND r.is_complete AND s.status = 'ready' AND s.storage_type <> 'mss')
      AND NOT EXISTS (SELECT FROM block_replicas r JOIN sites s ON s.id = r.site_id
                      WHERE r.dataset_id = d.id AND s.name = $1)
    ORDER BY d.size_bytes, d.name LIMIT 1"""


class Shell:
    """A shell elsewhere: it shows what is typed, and what comes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "PYTHONPATH": str(ROOT)}

    def type(self, *words: str, answer: str = "") -> str:
        """A command; what it printed. Raises DemoError if it fails."""
        print(f"{NAME}$ dynamo {' '.join(words)}", flush=True)
        shown = self.quietly(*words, answer=answer)
        print(shown, flush=True)
        return shown

    def quietly(self, *words: str, answer: str = "") -> str:
        """The same, and nothing of it is shown."""
        done = subprocess.run(
            [sys.executable, "-m", "dynamo_ops.cli", *words],
            env=self._environment,
            cwd=self._folder,
            input=answer,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise DemoError(f"dynamo {' '.join(words)} ended with {done.returncode}: {done.stderr}")
        return done.stdout


def show_day(instance: Instance, say: Say) -> int:
    """Returns 0 if the copy came and was told of by mail, once."""
    password = password_of(instance, NAME)
    if password is None:
        raise DemoError("everybody is let in here: a physicist needs the demo's people (without DEMO_OPEN)")
    dataset = Database(database_url(instance)).frame(WISHED_SQL, (SITE,)).item()
    with TemporaryDirectory(prefix="dynamo-demo-") as folder:  # not in the home: there is an installation
        return _day(instance, Shell(Path(folder)), password, dataset, say)


def _day(instance: Instance, shell: Shell, password: str, dataset: str, say: Say) -> int:
    shell.type("login", instance.ui, "--user", NAME, "--password-stdin", answer=f"{password}\n")
    shell.type("whoami")
    shell.type("dataset", "find", f"{dataset.rsplit('/', 1)[0]}/*")
    shell.type("dataset", "where", dataset)
    shell.type("event", "subscribe", "request.*", "--mail", MAIL)
    asked = json.loads(shell.type("request", "copy", dataset, "--site", SITE, "--group", GROUP, "--json"))
    shell.type("request", "show", str(asked["id"]))
    told = _mails(instance)
    airflow = Airflow.of(instance)
    for dag_id in DAG_IDS:
        airflow.unpause(dag_id)
    say(f"the Dealer's next cycle looks at it: {airflow.trigger(DAG_IDS[0])}")
    end = time.monotonic() + WAIT_S
    state = "new"
    while state in ("new", "activated") or len(_mails(instance)) == len(told):
        if time.monotonic() > end:
            raise DemoError(f"request {asked['id']} is {state} after {WAIT_S} s, and {NAME} was told nothing")
        time.sleep(3)
        state = json.loads(shell.quietly("request", "show", str(asked["id"]), "--json"))["state"]
    shell.type("request", "show", str(asked["id"]))
    shell.type("dataset", "where", dataset, "--site", SITE)
    shell.type("event", "list", "--about", f"request {asked['id']}")
    new = [mail for mail in _mails(instance) if mail not in told]
    for mail in new:
        say(f"mail to {MAIL}:\n{mail.read_text(errors='replace')}")
    return 0 if state == "completed" and len(new) == 1 else 1


def _mails(instance: Instance) -> list[Path]:
    """Those to the physicist."""
    folder = Path(str(grid(instance)["mail_dir"]))
    return [file for file in sorted(folder.glob("*.eml")) if f"To: {MAIL}" in file.read_text(errors="replace")]
