"""Log handlers of a job: console on rank 0, one file per rank; safe to set up again for the next job of a process."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from pathlib import Path

from detectron2.utils.logger import log_first_n

from .dist import is_lost_peer
from .errors import error_line, told_in_one_line

LOGGERS = ("maskclippp", "detectron2", "fvcore")
FORMAT = logging.Formatter("[%(asctime)s] %(name)s %(levelname)s: %(message)s", datefmt="%m/%d %H:%M:%S")


def setup_logging(output_dir: str | Path, rank: int) -> None:
    """Send INFO and above of this package, detectron2 and fvcore to the console (rank 0) and ``output_dir/log.txt``.

    Other ranks write ``log.txt.rankN``.
    """
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    handlers: list[logging.Handler] = [
        LogFile(folder / ("log.txt" if rank == 0 else f"log.txt.rank{rank}"), encoding="utf-8")
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
    threading.excepthook = _tell_thread
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


class LogFile(logging.FileHandler):
    """A log file on a disk that may be full: that is told once, in one line, and does not stop the run."""

    _told = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (the name is logging's)
        """Tell why a line could not be written."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._told:
            self._told = True
            print(f"warning: the log ends here: {error_line(error, folder=self.baseFilename)}")

    def close(self) -> None:
        """Close the file; what is still to be written may not fit either."""
        with contextlib.suppress(OSError):
            super().close()


def _tell_thread(args: threading.ExceptHookArgs) -> None:
    """Tensorboard writes in a thread and hands an error on to the run, which tells it."""
    if not isinstance(args.exc_value, OSError):
        threading.__excepthook__(args)


def _is_our_bug(record: logging.LogRecord) -> bool:
    """The train loop logs every exception with its traceback; what the door tells as one line needs none."""
    error = record.exc_info[1] if record.exc_info else None
    return not (told_in_one_line(error) or (error is not None and is_lost_peer(error)))
