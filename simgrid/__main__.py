"""python -m simgrid serve|build: a pocket grid from a scenario file."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from pathlib import Path

from simgrid.build import build
from simgrid.faults import UnknownFaultError
from simgrid.grid import Grid
from simgrid.http import PortInUseError
from simgrid.scenario import ScenarioError, load_scenario


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        return _serve(options) if options.command == "serve" else _build(options)
    except (ScenarioError, PortInUseError, UnknownFaultError) as error:
        print(f"simgrid: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m simgrid", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("serve", "build if needed, and run in the foreground until SIGTERM or Ctrl-C"),
        ("build", "only make the storage, the catalogue and replicas.json"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--scenario", required=True, type=Path, help="YAML file")
        command.add_argument("--dir", required=True, type=Path, help="where the grid keeps everything")
        command.add_argument("--fresh", action="store_true", help="begin anew: remove what an earlier grid made there")
        if name == "serve":
            command.add_argument("--port-base", type=int, default=0, help="first of the ports; 0: any free ones")
    return parser


def _build(options: argparse.Namespace) -> int:
    catalogue = build(load_scenario(options.scenario), options.dir.resolve(), options.fresh)
    files = sum(len(block.files) for dataset in catalogue.datasets for block in dataset.blocks)
    print(f"{len(catalogue.datasets)} datasets, {files} files, {len(catalogue.replicas)} dataset replicas")
    return 0


def _serve(options: argparse.Namespace) -> int:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    (options.dir / "simgrid.json").unlink(missing_ok=True)
    with Grid(options.scenario, options.dir, options.port_base, options.fresh) as grid:
        path = grid.write_endpoints()
        print(f"simgrid: serving; {path}", flush=True)
        stop.wait()
        path.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
