"""The classes of a dataset row, wherever its names come from."""

from __future__ import annotations

from ..vocabularies import Vocabulary, load_vocabulary
from .mess import is_mess, mess_vocabulary
from .row import DatasetRow


def row_vocabulary(row: DatasetRow) -> Vocabulary:
    """Return the classes of a dataset in contiguous order.

    Raises:
        UserError: no such vocabulary, or the package that holds it is not installed.
    """
    if row.classes is not None:
        return row.classes
    return mess_vocabulary(row.vocabulary) if is_mess(row) else load_vocabulary(row.vocabulary)
