"""Log handlers of a job: console on rank 0, one file per rank; safe to set up again for the next job of a process."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from detectron2.utils.logger import log_first_n

from .errors import UserError

LOGGERS = ("maskclippp", "detectron2", "fvcore")
FORMAT = logging.Formatter("[%(asctime)s] %(name)s %(levelname)s: %(message)s", datefmt="%m/%d %H:%M:%S")


def setup_logging(output_dir: str | Path, rank: int) -> None:
    """Send INFO and above of this package, detectron2 and fvcore to the console (rank 0) and ``output_dir/log.txt``.

    Other ranks write ``log.txt.rankN``.
    """
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    handlers: list[logging.Handler] = [
        logging.FileHandler(folder / ("log.txt" if rank == 0 else f"log.txt.rank{rank}"))
    ]
    if rank == 0:
        handlers.append(logging.StreamHandler(sys.stdout))
    for handler in handlers:
        handler.setFormatter(FORMAT)
    for name in LOGGERS:
        logger = logging.getLogger(name)
        for old in logger.handlers:
            old.close()
        logger.handlers = list(handlers)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    train_loop = logging.getLogger("detectron2.engine.train_loop")
    if _is_our_bug not in train_loop.filters:
        train_loop.addFilter(_is_our_bug)


def log_once(logger: logging.Logger, level: int, message: str) -> None:
    """Log a text, but only the first time that it comes up in this process."""
    log_first_n(level, message, name=logger.name, key="message")


class WarnOnce:
    """Gives each kind of warning once in its own life; for what may come up in every iteration of a training.

    Args:
        logger: where to.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._given: set[str] = set()

    def __call__(self, kind: str, message: str) -> None:
        """Log the message, unless one of its kind has been."""
        if kind not in self._given:
            self._given.add(kind)
            self._logger.warning(message)


def _is_our_bug(record: logging.LogRecord) -> bool:
    """The train loop logs every exception with its traceback; what the door tells as one line needs none."""
    return not (record.exc_info and isinstance(record.exc_info[1], (UserError, FloatingPointError)))
