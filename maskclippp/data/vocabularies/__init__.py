"""Class lists with synonyms, sentence templates, and what counts as seen in training."""

from .vocabulary import (
    Vocabulary,
    builtin_vocabularies,
    load_vocabulary,
    parse_class_list,
    seen_classes,
    split_synonyms,
)

__all__ = [
    "Vocabulary",
    "builtin_vocabularies",
    "load_vocabulary",
    "parse_class_list",
    "seen_classes",
    "split_synonyms",
]
