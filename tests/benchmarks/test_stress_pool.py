"""A short run of the stress of pools: killed writers, writers at once, damaged files; and it fails where it must."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import skfusion

ROOT = Path(skfusion.__file__).parents[1]
BREAKS = {
    "puts that are told before they are done": """
        put = _writer.Writer.put
        _writer.Writer.put = lambda self, entry: put(self, entry) if random.random() < 0.7 else None
    """,
    "an index that is written in its place": """
        _writer._replace = lambda path, data: (path.write_bytes(data[: len(data) // 2]), time.sleep(0.2),
                                               path.write_bytes(data))
    """,
    "no lock": """
        _writer.filelock.FileLock.acquire = lambda self, **options: None
    """,
    "no check of hashes": """
        formats.check_digest = lambda path: formats.digest_of(path) and None
    """,
}


def stress(*arguments, change=""):
    """Run the script in a process of its own, in which something may be broken first."""
    source = f"""if True:
        import random, runpy, sys, time
        from skfusion.checkpoints import format as formats
        from skfusion.pool.stores import _writer
        {change}
        sys.path.insert(0, {str(ROOT / "benchmarks")!r})
        sys.argv = ["stress_pool.py", *{[*map(str, arguments)]!r}]
        runpy.run_path({str(ROOT / "benchmarks" / "stress_pool.py")!r}, run_name="__main__")
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-c", source], env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="writers are copies of the process")
def test_nothing_is_lost_and_nothing_wrong_is_read():
    run = stress("--n", 100, "--kills", 6, "--puts", 5)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "BAD" not in run.stdout
    assert "4 writers at once added" in run.stdout
    assert "read as it was" in run.stdout
    assert "pool refused" in run.stdout


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="writers are copies of the process")
@pytest.mark.parametrize("name", BREAKS)
def test_what_is_broken_is_found(name):
    run = stress("--n", 400, "--kills", 8, "--puts", 10, "--pools", change=BREAKS[name])
    assert run.returncode == 1, run.stdout + run.stderr
