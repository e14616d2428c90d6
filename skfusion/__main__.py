"""``python -m skfusion``: the command line, also where its script is on no path."""

from skfusion.cli import main

if __name__ == "__main__":
    main()
