"""Check a built wheel, install it in an environment of its own, and try what a user does first.

python .ci/try_wheel.py dist/skfusion-0.2.0-py3-none-any.whl --tag v0.2.0

It needs nothing but Python, and this repository to compare the wheel with. Exit code 1 and one line where something is
wrong.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]

# A link or a picture in Markdown or HTML whose address is relative, or leads to a section of the page.
RELATIVE = re.compile(r"""\]\((?![a-z]+:)[^)\s]+[)\s]|(?:src|srcset|href)="(?![a-z]+:)[^"]*\"""")

# What a user does first, in an empty folder. Optuna waits until something is tuned.
FIRST_STEPS = """
import sys, skfusion
from sklearn.datasets import load_iris
from skfusion import SoupClassifier
from skfusion.nets import mlp_classifier

X, y = load_iris(return_X_y=True)
soup = SoupClassifier(mlp_classifier(max_epochs=10), random_state=0).fit(X, y)
print("skfusion", skfusion.__version__, "scores", round(soup.score(X, y), 3))
assert soup.score(X, y) > 0.5
assert not {"optuna", "cmaes", "matplotlib"} & {*sys.modules}, "imported before it is used"
"""


def relative_links(text: str) -> list[str]:
    """Return the links and pictures of a text in Markdown that a page elsewhere cannot resolve."""
    return [match.group() for match in RELATIVE.finditer(text)]


def metadata_of(wheel: zipfile.ZipFile) -> Message:
    """Return the metadata of a wheel, whose payload is the text that PyPI shows."""
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel.read(name).decode("utf-8"))


def problems(path: Path, tag: str | None) -> Iterator[str]:
    """Yield what is wrong with a wheel that can be seen without installing it."""
    with zipfile.ZipFile(path) as wheel:
        metadata = metadata_of(wheel)
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    source = (path for path in (ROOT / "skfusion").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    expected = {str(PurePosixPath(path.relative_to(ROOT))) for path in source}
    if missing := sorted(expected - names):
        yield f"files that are missing: {missing}"
    if more := sorted(names - expected):
        yield f"files that do not belong there: {more}"
    if links := relative_links(metadata.get_payload()):
        yield f"links of the README that PyPI cannot resolve: {links}"
    if tag and tag != f"v{metadata['Version']}":
        yield f"the tag is {tag}, the version {metadata['Version']}"


def try_out(path: Path) -> None:
    """Install a wheel in a new virtual environment, fit with it, and ask its command for help."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(Path(folder, "venv"), with_pip=True)
        binaries = Path(folder, "venv", "Scripts" if os.name == "nt" else "bin")
        python = str(binaries / "python")

        def run(*command: str) -> None:
            subprocess.run(command, check=True, cwd=folder)

        run(python, "-m", "pip", "install", "--quiet", str(path.resolve()))
        run(python, "-m", "pip", "check")
        run(python, "-I", "-c", FIRST_STEPS)
        for words in (["--version"], ["--help"], ["merge", "--help"]):
            run(str(binaries / "skfusion"), *words)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--tag", help="the tag of the release, which must be v and the version")
    options = parser.parse_args()
    if found := [*problems(options.wheel, options.tag)]:
        sys.exit("\n".join(found))
    try:
        try_out(options.wheel)
    except subprocess.CalledProcessError as error:
        sys.exit(f"failed: {error}")
    print(f"{options.wheel.name}: {options.wheel.stat().st_size / 1e6:.2f} MB, tried in an environment of its own")


if __name__ == "__main__":
    main()
