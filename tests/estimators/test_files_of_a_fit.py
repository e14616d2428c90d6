"""How many of our files a fit walks through: what a newcomer has to read, who follows it. The number may not grow."""

import subprocess
import sys
from pathlib import Path

import skfusion

MAX_FILES = 49
"""Six of them are the network for tables: its inputs, statistics, encoding, layers, dropout and loss. Three were
parts of others: sets of hashes, sums of states, and how a fit begins to report itself."""

TRACED = """
import os, sys, warnings
import skfusion
from sklearn.datasets import load_digits
from skfusion import SoupClassifier

warnings.simplefilter("ignore")
X, y = load_digits(return_X_y=True)
root, files = os.path.dirname(skfusion.__file__), set()

def trace(frame, event, arg):
    name = frame.f_code.co_filename
    if event == "call" and name.startswith(root) and frame.f_code.co_name != "<module>":
        files.add(os.path.relpath(name, root))

soup = SoupClassifier(random_state=0)
sys.setprofile(trace)
soup.fit((X[:200] / 16).astype("float32"), y[:200])
sys.setprofile(None)
print("\\n".join(sorted(files)))
"""


def test_a_fit_walks_through_few_files():
    root = str(Path(skfusion.__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", TRACED], cwd=root, capture_output=True, text=True, check=True)
    files = done.stdout.split()
    assert "estimators/_soup.py" in files
    assert len(files) <= MAX_FILES, f"{len(files)} files, at most {MAX_FILES}: {files}"
