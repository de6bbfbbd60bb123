"""Start LeukoBench: `python run_guide.py` opens the menu, `python run_guide.py --help` lists the commands."""

import sys


def main() -> int:
    """Check the Python version and the packages, then call guide/app.py; return the exit code."""
    if sys.version_info < (3, 11):  # noqa: UP036  # an older Python must reach this message
        print(f"Error: LeukoBench needs Python 3.11 or newer; this is {sys.version.split()[0]}.", file=sys.stderr)
        return 1
    try:
        from guide.app import main as guide
    except ModuleNotFoundError as problem:
        if (problem.name or "").partition(".")[0] in ("guide", "models", "data", "utils", "visualization"):
            raise
        print(
            f"Error: the package '{problem.name}' is not installed for {sys.executable}. Run `make venv` and then "
            "`.venv/bin/python run_guide.py`, or: pip install -r requirements.txt",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        return 130
    return guide()


if __name__ == "__main__":
    sys.exit(main())
