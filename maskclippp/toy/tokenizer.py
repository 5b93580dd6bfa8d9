"""Learns a small byte-pair vocabulary in CLIP's file format.

Every word of the toy world becomes one token; any other text falls back to bytes.
"""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import regex
from open_clip.tokenizer import SimpleTokenizer, bytes_to_unicode

from maskclippp.utils.files import atomic_write

from .captions import all_words_sample
from .classes import CLASSES

CONTEXT_LENGTH = 32
END_OF_WORD = "</w>"
_WORD = regex.compile(r"\p{L}+|\p{N}|[^\s\p{L}\p{N}]+")


def _split_words(sentences: list[str]) -> Counter:
    """Count the words as tuples of byte symbols, the last one marked as the end of its word."""
    symbols = bytes_to_unicode()
    counts: Counter = Counter()
    for sentence in sentences:
        for word in _WORD.findall(sentence.lower()):
            letters = [symbols[byte] for byte in word.encode()]
            counts[(*letters[:-1], letters[-1] + END_OF_WORD)] += 1
    return counts


def _merge(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    merged: list[str] = []
    for symbol in word:
        if merged and (merged[-1], symbol) == pair:
            merged[-1] += symbol
        else:
            merged.append(symbol)
    return tuple(merged)


def learn_merges(sentences: list[str]) -> list[tuple[str, str]]:
    """Merge the most frequent neighbours (ties: first in the alphabet) until each word is one symbol."""
    words = _split_words(sentences)
    merges = []
    while True:
        pairs: Counter = Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:], strict=False):
                pairs[pair] += count
        if not pairs:
            return merges
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = Counter({_merge(word, best): count for word, count in words.items()})


def write_vocabulary(path: Path) -> None:
    """Write the gzipped merges (same bytes each time) for the words of the toy world and of all prompt templates."""
    names = [f"a {name}." for entry in CLASSES for name in entry.names]
    lines = ["#version: toy world", *(" ".join(pair) for pair in learn_merges(names + all_words_sample()))]
    with atomic_write(path) as temporary:
        temporary.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))


def load_tokenizer(path: Path) -> SimpleTokenizer:
    """Return open_clip's tokenizer on the vocabulary file ``path``."""
    return SimpleTokenizer(bpe_path=str(path), context_length=CONTEXT_LENGTH)
