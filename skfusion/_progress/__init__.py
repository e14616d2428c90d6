"""How far a long piece of work is, and how long it will still take.

`_bar` shows it in a terminal, a notebook or a log file, and `_pace` estimates the time that is left. The room imports
nothing of the library, and rich only where a bar is drawn.
"""

from skfusion._progress._bar import Bar
from skfusion._progress._pace import PaceByName

__all__ = ["Bar", "PaceByName"]
