"""Mutation testing of the mathematical layers: would the tests notice a wrong sign, bound or number?

    python tests/mutants.py --n 200 --seed 0

A mutant is the package with one random change in a formula: an operator or a comparison replaced, a number moved by
one, a condition turned round, a minimum for a maximum. The tests of its room and the examples of its module are run on
it, in a copy of the repository; they should fail. Those that pass are listed as survivors: each wants a test, or a line
in ``EQUIVALENT`` that says why the change makes no difference.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]

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

# "file:line text -> text": why no test can tell the mutant from the original.
EQUIVALENT: dict[str, str] = {}

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


def judge(work: Path, path: Path, node: ast.AST, kind: str, timeout: float) -> tuple[str, str, float]:
    """Run the tests of a mutant; return what was changed, how it ended, and the seconds."""
    source = path.read_text()
    text = mutated(node, kind)
    where = path.relative_to(ROOT)
    what = f"{where}:{node.lineno} {ast.get_source_segment(source, node)} -> {text}"
    mirror = Path("tests", *where.parts[1:-1], f"test_{where.name.removeprefix('_')}")  # soonest to fail, so run first
    tests = [str(where), *([str(mirror)] if (work / mirror).exists() else []), *ROOMS[where.parts[1]]]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(work), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    begin = time.perf_counter()
    (work / where).write_text(change(source, node, text))
    try:
        done = subprocess.run(command, cwd=work, env=environment, capture_output=True, timeout=timeout, check=False)
        end = "survived" if done.returncode == 0 else "killed"
    except subprocess.TimeoutExpired:
        end = "killed"  # a loop that does not end is noticed
    finally:
        (work / where).write_text(source)
    return what, end, time.perf_counter() - begin


def main() -> int:
    """Try random mutants; the exit status is 1 where fewer than the asked share are killed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=200, help="mutants to try")
    parser.add_argument("--seed", type=int, default=0, help="of the choice")
    parser.add_argument("--jobs", type=int, default=2, help="at a time")
    parser.add_argument("--timeout", type=float, default=600, help="seconds a mutant")
    parser.add_argument("--room", choices=[*ROOMS], help="only this one")
    parser.add_argument("--share", type=float, default=0.95, help="that must be killed")
    args = parser.parse_args()
    rooms = [args.room] if args.room else [*ROOMS]
    paths = [p for r in rooms for p in ([ROOT / "skfusion" / r] if r.endswith(".py")
             else sorted((ROOT / "skfusion" / r).rglob("*.py")))]  # fmt: skip
    sites = [site for path in paths if path.name != "__init__.py" for site in sites_of(path)]
    chosen = random.Random(args.seed).sample(sites, min(args.n, len(sites)))
    print(f"{len(chosen)} of {len(sites)} mutants, seed {args.seed}", flush=True)
    with tempfile.TemporaryDirectory() as place:
        copies = []
        for k in range(args.jobs):
            copies.append(Path(place, str(k)))
            for name in ("skfusion", "tests", "pyproject.toml", "README.md", "docs", "Makefile"):
                part = ROOT / name
                copy = shutil.copytree if part.is_dir() else shutil.copy
                copies[-1].mkdir(exist_ok=True)
                copy(part, copies[-1] / name)

        def run(k: int) -> list[tuple[str, str, float]]:
            done = []
            for site in chosen[k :: args.jobs]:
                done.append(judge(copies[k], *site, args.timeout))
                print(f"{done[-1][1]:8} {done[-1][2]:5.0f} s  {done[-1][0]}", flush=True)
            return done

        with ThreadPoolExecutor(args.jobs) as pool:
            results = [result for done in pool.map(run, range(args.jobs)) for result in done]
    survivors = [what for what, end, _ in results if end == "survived"]
    unexplained = [what for what in survivors if what not in EQUIVALENT]
    killed = len(results) - len(survivors)
    print(f"\n{killed} of {len(results)} killed, {len(survivors) - len(unexplained)} equivalent. Survivors:")
    print("\n".join(unexplained) or "none")
    return int(killed + len(survivors) - len(unexplained) < args.share * len(results))


if __name__ == "__main__":
    sys.exit(main())
