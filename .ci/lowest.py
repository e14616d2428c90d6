"""Run tests with the lowest versions that pyproject.toml allows, so that its lower bounds are true.

python .ci/lowest.py                           makes an environment in .lowest, and runs the tests that are named below
python .ci/lowest.py tests/pool -k import      runs others there

It needs uv (`pip install uv`). What those versions warn of is no error here. Tests that ask for more than the lowest
versions have are left out by name, each with what it asks for.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".lowest"
PYTHON = FOLDER / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

# From the mathematics to the command line, those that take minutes and not hours.
TESTS = [
    "tests/test_package.py",
    "tests/test_state.py",
    "tests/_vectorized",
    "tests/checkpoints",
    "tests/cli/test_cli.py",
    "tests/cli/test_help.py",
    "tests/data",
    "tests/nets/test_average_weights.py",
    "tests/nets/test_nets.py",
    "tests/nets/test_validation.py",
    "tests/pool/importers",
    "tests/pool/stores/test_hostile_estimators.py",
    "tests/pool/stores/test_store_estimators.py",
    "tests/pool/stores/test_store_urls.py",
    "tests/pool/test_pool.py",
    "tests/symmetry",
    "tests/tuning/test_damaged_storage.py",
    "tests/tuning/test_fusion_search.py",
    "tests/tuning/test_keep_trials.py",
    "tests/tuning/test_soup_weights.py",
]

# Words of the names of tests, and what these ask for.
LEFT_OUT = {
    "decoupled": "Adam(decoupled_weight_decay=) of PyTorch 2.7",
    "padded": "attention in which every position is masked, NaN before PyTorch 2.5",
    "no_encoding_of_all_members": "hooks on saved tensors under vmap, of later versions of PyTorch",
    "check_sums_that_were_left_out": "torch.serialization.get_crc32_options of later versions of PyTorch",
    "test_transformer_symmetries": "scaled_dot_product_attention(enable_gqa=) of PyTorch 2.5",
    "optimum_of_a_concave_score and tpe": "TPESampler, multivariate by default, of Optuna 5",
    "uint or fnuz or complex64": "files of these dtypes, of safetensors 0.7 and 0.8 and later versions of PyTorch",
}


def run(*command: object) -> None:
    """Run a command in this repository on one thread, and end where it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    if status := subprocess.run([str(word) for word in command], cwd=ROOT, env=environment).returncode:
        sys.exit(status)


def main() -> None:
    uv = [sys.executable, "-m", "uv"]
    install = [*uv, "pip", "install", "--python", PYTHON]
    if not PYTHON.exists():
        run(*uv, "venv", "--python", "3.11", FOLDER)
        run(*install, "--resolution", "lowest-direct", "-r", "pyproject.toml", "--extra", "plots", "--extra", "skops")
        run(*install, "--no-deps", "torchvision==0.19.0")  # that of the lowest PyTorch
        run(*install, "--no-deps", "--editable", ".")
        run(*install, "pytest>=8.3")
    run(*uv, "pip", "list", "--python", PYTHON)
    words = " or ".join(f"({name})" for name in LEFT_OUT)
    tests = sys.argv[1:] or [*TESTS, "-k", f"not ({words})"]
    run(PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "filterwarnings=", *tests)


if __name__ == "__main__":
    main()
