"""Many independent pieces of work in several processes, with progress; what fails is told together at the end."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import TypeVar

from tqdm import tqdm

from .errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

_MAX_CHUNK = 32


def run_all(
    function: Callable[[Item], Result], items: Sequence[Item], *, workers: int, title: str, noun: str = "file"
) -> list[Result]:
    """Call a function on every item; one that fails does not keep the others from being done.

    Args:
        function: picklable if there are several workers.
        items: its arguments.
        workers: processes; 1 works in this one.
        title: shown with the progress.
        noun: what an item is, for the message.

    Returns:
        The results in the order of the items.

    Raises:
        UserError: some items failed with a UserError or OSError; tells how many and the first message.
    """
    results, failures = try_all(function, items, workers=workers, title=title)
    if failures:
        others = f" (and {len(failures) - 1} more of {len(items)} {noun}s failed)" if len(failures) > 1 else ""
        raise UserError(f"{failures[0]}{others}")
    return results


def try_all(
    function: Callable[[Item], Result], items: Sequence[Item], *, workers: int, title: str
) -> tuple[list[Result | None], list[str]]:
    """Call a function on every item, as :func:`run_all` does.

    Returns:
        The results in the order of the items (None for those that failed), and the messages of the failures.
    """
    outcomes = list(_outcomes(partial(_attempt, function), items, workers, title))
    return [result for result, _ in outcomes], [failure for _, failure in outcomes if failure]


def _attempt(function: Callable[[Item], Result], item: Item) -> tuple[Result | None, str]:
    """Return the result, or the message of the failure."""
    try:
        return function(item), ""
    except (UserError, OSError) as error:
        return None, str(error)


def _outcomes(attempt: Callable, items: Sequence, workers: int, title: str) -> Iterable:
    progress = partial(tqdm, total=len(items), desc=title, disable=None, leave=False)
    workers = min(workers, len(items))
    if workers <= 1:
        yield from progress(map(attempt, items))
        return
    chunk = max(1, min(_MAX_CHUNK, len(items) // (4 * workers)))
    try:
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context()) as pool:
            yield from progress(pool.map(attempt, items, chunksize=chunk))
    except BrokenProcessPool as error:
        raise UserError(f"{title}: a worker process died, perhaps for want of memory; try fewer --workers") from error
