"""Run the command line: `python -m dreamfields`."""

from dreamfields.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
