"""Mutation testing of the mathematical layers: would the tests notice a wrong sign, bound or number?

    python tests/mutants.py --n 200 --seed 0

A mutant is the package with one random change in a formula: an operator or a comparison replaced, a number moved by
one, a condition turned round, a minimum for a maximum. The tests of its room and the examples of its module are run on
it, in a copy of the repository; they should fail. Those that pass are listed as survivors: each wants a test, or a line
in ``EQUIVALENT`` that says why the change makes no difference.

The tests of the rooms are run once on the package as it is, to see which tests reach which line, and how long they
take. A mutant meets the quickest of the tests that reach its line, then more of them, and only if it survives these the
whole room. Each run is a fork of this process, which has imported torch and its companions already.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import conftest  # noqa: F401  its settings must hold before anything else is imported
import coverage
import pytest

ROOT = Path(__file__).parents[1]

# Imported once, before the forks.
LIBRARIES = {"joblib", "numpy", "optuna", "pandas", "rich", "safetensors", "scipy", "skorch", "sklearn", "torch"}

# What is mutated, and which tests judge it beside the examples of the module itself.
ROOMS = {
    "align": ["tests/align"],
    "merge": ["tests/merge"],
    "connect": ["tests/connect"],
    "repair": ["tests/repair"],
    "combine": ["tests/combine"],
    "landscape": ["tests/landscape"],
    "symmetry": ["tests/symmetry", "tests/align"],
    "geometry.py": ["tests/test_geometry.py"],
    "state.py": ["tests/test_state.py", "tests/merge"],
    "tangent.py": ["tests/test_tangent.py"],
}

# "file text -> text": why no test can tell the mutant from the original.
EQUIVALENT = {
    "skfusion/combine/_running.py y < c -> y <= c": "the right class is never its own rival",
    "skfusion/align/permutation/_rows.py a.numel() <= _PIECE -> a.numel() < _PIECE": "one piece either way",
    "skfusion/merge/statistics/_matrices.py 2 -> 3": "the size of pieces, which have the same sums",
    "skfusion/merge/statistics/_matrices.py 3 -> 4": "tokens are rows of their sample, or rows with its weight",
    "skfusion/landscape/_plane.py value.detach().double() + noise * (lengths[0] / lengths[1])"
    " -> value.detach().double() - noise * (lengths[0] / lengths[1])": "a random direction is as good as its opposite",
}

BINARY = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.MatMult: ast.Mult,
}
COMPARE = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
}  # fmt: skip
NAMES = {
    "min": "max", "max": "min", "amin": "amax", "amax": "amin", "argmin": "argmax", "argmax": "argmin", "sum": "mean",
    "mean": "sum", "minimum": "maximum", "maximum": "minimum", "any": "all", "all": "any", "floor": "ceil",
}  # fmt: skip


class Sites(ast.NodeVisitor):
    """Collect the places of a module that can be mutated, with what stands there in the mutant."""

    def __init__(self) -> None:
        self.sites: list[tuple[ast.AST, str]] = []

    def visit_Raise(self, node: ast.Raise) -> None:
        """Leave messages alone."""

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Leave texts alone."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """Look at values only, not at types."""
        if node.value is not None:
            self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Look at bodies and defaults; not at types, and not at what is for tests."""
        if node.name in ("_test_params", "_test_skips", "__repr__", "describe"):
            return
        for part in [*node.args.defaults, *(d for d in node.args.kw_defaults if d is not None), *node.body]:
            self.visit(part)

    def visit_Expr(self, node: ast.Expr) -> None:
        """Leave docstrings and warnings alone."""
        called = node.value.func if isinstance(node.value, ast.Call) else None
        name = getattr(called, "attr", getattr(called, "id", ""))
        if not isinstance(node.value, ast.Constant) and "warn" not in name:
            self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> None:
        """Note the node if it can be mutated, and go on to its parts."""
        if isinstance(node, ast.BinOp) and type(node.op) in BINARY and not _is_text(node):
            self.sites.append((node, "op"))
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARE:
            self.sites.append((node, "compare"))
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
            self.sites.append((node, "drop"))
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
            self.sites.append((node, "number"))
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in NAMES:
            self.sites.append((node, "name"))
        elif isinstance(node, ast.BoolOp):
            self.sites.append((node, "bool"))
        super().generic_visit(node)


def _is_text(node: ast.BinOp) -> bool:
    return any(isinstance(n, ast.JoinedStr) or (isinstance(n, ast.Constant) and isinstance(n.value, str))
               for n in ast.walk(node))  # fmt: skip


def mutated(node: ast.AST, kind: str) -> str:
    """Return the source of the node with its change."""
    node = ast.parse(ast.unparse(node), mode="eval").body
    if kind == "op":
        node.op = BINARY[type(node.op)]()
    elif kind == "compare":
        node.ops[0] = COMPARE[type(node.ops[0])]()
    elif kind == "drop":
        node = node.operand
    elif kind == "number":
        node.value += 1
    elif kind == "bool":
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node.func, ast.Attribute):
        node.func.attr = NAMES[node.func.attr]
    else:
        node.func.id = NAMES[node.func.id]
    return ast.unparse(ast.Expression(node))


def sites_of(path: Path) -> list[tuple[Path, ast.AST, str]]:
    """Return the places of a file that can be mutated."""
    found = Sites()
    found.visit(ast.parse(path.read_text()))
    return [(path, node, kind) for node, kind in found.sites]


def change(source: str, node: ast.AST, text: str) -> str:
    """Return the source of a file with the text of one node replaced; columns are counted in bytes."""
    lines = source.encode().splitlines(keepends=True)
    start = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
    end = sum(map(len, lines[: node.end_lineno - 1])) + node.end_col_offset
    return (source.encode()[:start] + f"({text})".encode() + source.encode()[end:]).decode()


class Reach:
    """A plugin of pytest that notes which lines each test reaches, and how long it takes."""

    def __init__(self) -> None:
        self.coverage = coverage.Coverage(data_file=None, source_pkgs=["skfusion"], config_file=False)
        self.seconds: dict[str, float] = {}
        self.coverage.start()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Measure one test."""
        self.coverage.switch_context(item.nodeid)
        begin = time.process_time()
        yield
        self.seconds[item.nodeid] = time.process_time() - begin
        self.coverage.switch_context("")

    def report(self, work: Path, path: Path) -> None:
        """Write what was noted: the seconds of tests, the tests of lines, and the modules of other libraries."""
        self.coverage.stop()
        data = self.coverage.get_data()
        lines = {
            str(Path(name).relative_to(work)): {k: [*filter(None, v)] for k, v in data.contexts_by_lineno(name).items()}
            for name in data.measured_files()
        }
        modules = [name for name in sys.modules if name.partition(".")[0] in LIBRARIES]
        path.write_text(json.dumps({"seconds": self.seconds, "lines": lines, "modules": modules}))


def forked(work: Path, tests: list[str], log: Path, reach: Path | None = None) -> int:
    """Start the tests in a fork of this process that leads a group of its own; return its number."""
    child = os.fork()
    if child:
        return child
    status = 3
    try:
        os.setpgid(0, 0)
        os.chdir(work)
        os.environ["PYTHONPATH"] = str(work)
        sys.path.insert(0, str(work))
        sys.dont_write_bytecode = reach is None
        with log.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        plugin = [] if reach is None else [Reach()]
        status = pytest.main(["-q", "-p", "no:cacheprovider", *(["-x"] if reach is None else []), *tests], plugin)
        if reach is not None:
            plugin[0].report(work, reach)
    finally:
        os._exit(int(status))


def outcome(child: int, timeout: float) -> int | None:
    """Wait for a fork; return its exit status, or None where it took too long and was ended."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def stages(where: Path, node: ast.AST, reach: dict) -> Iterator[list[str]]:
    """Yield the tests of a mutant, those that are soonest to fail first."""
    lines = reach["lines"].get(str(where), {})
    tests = {test for k in range(node.lineno, node.end_lineno + 1) for test in lines.get(str(k), ())}
    order = sorted(tests, key=lambda test: (reach["seconds"][test], test))
    mirror = f"tests/{'/'.join(where.parts[1:-1])}/test_{where.name.removeprefix('_')}::"
    own = [test for test in order if test.startswith(mirror)]
    others = [test for test in order if not test.startswith(mirror)]
    yield from filter(None, ([*own[:20], *others[:10]], [*own[20:], *others[10:100]]))
    yield [str(where), *ROOMS[where.parts[1]]]


def judge(work: Path, path: Path, node: ast.AST, kind: str, reach: dict, timeout: float) -> tuple[str, str]:
    """Run the tests of a mutant; return what was changed, and how it ended."""
    source = path.read_text()
    text = mutated(node, kind)
    where = path.relative_to(ROOT)
    what = f"{where}:{node.lineno} {ast.get_source_segment(source, node)} -> {text}"
    begin = time.perf_counter()
    (work / where).write_text(change(source, node, text))
    try:
        # 4 and 5: a test of this name is no longer there, so the room decides; a loop that does not end is noticed
        survived = all(
            outcome(forked(work, tests, work / "log"), timeout) in (0, 4, 5) for tests in stages(where, node, reach)
        )
    finally:
        (work / where).write_text(source)
    end = "survived" if survived else "killed"
    print(f"{end:8} {time.perf_counter() - begin:5.0f} s  {what}", flush=True)
    return what, end


def judged(work: Path, sites: list[tuple], reach: dict, timeout: float) -> list[tuple[str, str]]:
    """Judge one mutant after another in a copy of the repository."""
    return [judge(work, *site, reach, timeout) for site in sites]


def copied(place: Path) -> Path:
    """Copy what the tests need of the repository."""
    place.mkdir()
    for name in ("skfusion", "tests", "pyproject.toml", "README.md", "docs", "Makefile"):
        part = ROOT / name
        (shutil.copytree if part.is_dir() else shutil.copy)(part, place / name)
    return place


def reached(work: Path, rooms: list[str], path: Path) -> dict:
    """Run the tests of the rooms as they are; return what each reaches, and import what they import."""
    tests = dict.fromkeys(test for room in rooms for test in (f"skfusion/{room}", *ROOMS[room]))
    if not path.exists() and outcome(forked(work, [*tests], work / "log", path), timeout=7200) != 0:
        sys.exit("The tests fail without a mutant:\n" + (work / "log").read_text()[-3000:])
    reach = json.loads(path.read_text())
    for name in reach.pop("modules"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    return reach


def main() -> int:
    """Try random mutants; the exit status is 1 where fewer than the asked share are killed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=200, help="mutants to try")
    parser.add_argument("--seed", type=int, default=0, help="of the choice")
    parser.add_argument("--jobs", type=int, default=2, help="at a time")
    parser.add_argument("--timeout", type=float, default=300, help="seconds of tests before a mutant is in a loop")
    parser.add_argument("--room", choices=[*ROOMS], help="only this one")
    parser.add_argument("--skip", type=int, default=0, help="leave out so many of the mutants, to go on with a run")
    parser.add_argument("--reach", type=Path, help="a file that keeps which tests reach what, to go on with a run")
    parser.add_argument("--share", type=float, default=0.95, help="that must be killed")
    args = parser.parse_args()
    rooms = [args.room] if args.room else [*ROOMS]
    paths = [p for r in rooms for p in ([ROOT / "skfusion" / r] if r.endswith(".py")
             else sorted((ROOT / "skfusion" / r).rglob("*.py")))]  # fmt: skip
    sites = [site for path in paths if path.name != "__init__.py" for site in sites_of(path)]
    chosen = random.Random(args.seed).sample(sites, min(args.n, len(sites)))[args.skip :]
    print(f"{len(chosen)} of {len(sites)} mutants, seed {args.seed}", flush=True)
    with tempfile.TemporaryDirectory() as place:
        first = copied(Path(place, "0"))
        reach = reached(first, rooms, (args.reach or first / "reach.json").absolute())
        copies = [first, *(shutil.copytree(first, Path(place, str(k))) for k in range(1, args.jobs))]
        with ProcessPoolExecutor(args.jobs, get_context("fork")) as pool:
            shares = (
                pool.submit(judged, copies[k], chosen[k :: args.jobs], reach, args.timeout) for k in range(args.jobs)
            )
            results = [result for share in [*shares] for result in share.result()]
    survivors = [what for what, end in results if end == "survived"]
    unexplained = [what for what in survivors if re.sub(":[0-9]+ ", " ", what, count=1) not in EQUIVALENT]
    killed = len(results) - len(survivors)
    print(f"\n{killed} of {len(results)} killed, {len(survivors) - len(unexplained)} equivalent. Survivors:")
    print("\n".join(unexplained) or "none")
    return int(killed + len(survivors) - len(unexplained) < args.share * len(results))


if __name__ == "__main__":
    sys.exit(main())
