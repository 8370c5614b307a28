"""How a script starts and ends. Import this module before a framework: it prepares the process for all of them."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from faces.errors import UserError

_Result = TypeVar("_Result")

# TensorFlow's notes about the machine are no news to somebody who wants to see faces. It reads this when it loads.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# The model that comes with the program, wherever it is started.
SHIPPED_CHECKPOINT = Path(__file__).resolve().parents[1] / "pretrained" / "face_age_gender.keras"


def add_checkpoint_option(parser: argparse.ArgumentParser) -> None:
    """--checkpoint, by default the model that ships."""
    parser.add_argument(
        "--checkpoint", "--weight_file", type=Path, default=SHIPPED_CHECKPOINT, help="a trained .keras file"
    )


def require_checkpoint(path: str | Path) -> None:
    """UserError unless there is such a file; asked before a framework loads, which takes seconds."""
    if not Path(path).is_file():
        raise UserError(f"There is no checkpoint {path}. Train one: python train.py")


def run_main(main: Callable[[], _Result]) -> _Result:
    """Run a script's main(); a UserError becomes one line on stderr and exit code 2."""
    try:
        return main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # Whoever read the output has seen enough. Python would complain once more when it closes the pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
