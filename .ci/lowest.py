"""Run tests with the lowest versions that pyproject.toml allows, so that its lower bounds are true.

python .ci/lowest.py                           makes an environment in .lowest, and runs the tests that are named below
python .ci/lowest.py tests/pool -k import      runs others there

It needs uv (`pip install uv`). What those versions warn of is no error here. Tests that need more than the lowest
versions are left out by name, each with what it needs.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".lowest"
PYTHON = FOLDER / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

# One room after another, from the mathematics to the command line; in minutes, not all of their tests.
TESTS = [
    "tests/test_package.py",
    "tests/test_release.py",
    "tests/test_state.py",
    "tests/_vectorized",
    "tests/align/permutation",
    "tests/average",
    "tests/checkpoints",
    "tests/combine",
    "tests/data",
    "tests/merge/soups",
    "tests/nets/test_train.py",
    "tests/symmetry",
]

NEEDS_MORE = {
}


def run(*command: object) -> None:
    """Run a command with one thread, from this repository, and end where it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    if status := subprocess.run([str(word) for word in command], cwd=ROOT, env=environment).returncode:
        sys.exit(status)
