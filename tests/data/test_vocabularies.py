"""Shipped vocabularies against the published counts; malformed files; users' class lists."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from maskclippp.data.vocabularies import (
    builtin_vocabularies,
    comparable_names,
    load_vocabulary,
    parse_class_list,
    same_to_encoder,
    seen_classes,
    seen_ignoring_case,
    spelling_notes,
    split_synonyms,
)
from maskclippp.data.vocabularies.templates import TEMPLATES, get_templates
from maskclippp.inference import train_to_test_lookup
from maskclippp.utils.errors import UserError

# name: classes, synonyms, seen after coco_stuff_171, seen after coco_panoptic_133
COUNTS = {
    "ade20k_150": (150, 403, 67, 64),
    "ade20k_847": (847, 1342, 115, 101),
    "pascal_context_59": (59, 160, 51, 51),
    "pascal_context_459": (459, 559, 94, 85),
    "pascal_voc_20": (20, 79, 20, 20),
    "pascal_voc_21": (21, 153, 21, 21),
    "coco_stuff_171": (171, 328, 171, 135),
    "coco_panoptic_133": (133, 254, 131, 133),
    "cityscapes_19": (19, 60, 17, 17),
    "mapillary_vistas_65": (65, 153, 26, 26),
}
# Parts of other vocabularies, under raw names: part, complement, whole.
SPLITS = [
    ("pascal_voc_15_seen", "pascal_voc_5_unseen", "pascal_voc_20"),
    ("pascal_context_49_seen", "pascal_context_10_unseen", "pascal_context_59"),
    ("coco_stuff_156_seen", "coco_stuff_15_unseen", "coco_stuff_171"),
    ("coco_base48", "coco_novel17", "coco_instances65"),
]


@pytest.mark.parametrize("name", COUNTS)
def test_published_counts(name: str) -> None:
    vocabulary = load_vocabulary(name)
    entries = vocabulary.class_entries
    stuff = load_vocabulary("coco_stuff_171").class_entries
    panoptic = load_vocabulary("coco_panoptic_133").class_entries
    synonyms = [synonym for entry in entries for synonym in split_synonyms(entry)]
    counts = (len(vocabulary), len(synonyms), sum(seen_classes(entries, stuff)), sum(seen_classes(entries, panoptic)))
    assert counts == COUNTS[name]


@pytest.mark.parametrize("name", builtin_vocabularies())
def test_every_shipped_file_is_sound(name: str) -> None:
    vocabulary = load_vocabulary(name)
    assert len(set(vocabulary.ids)) == len(vocabulary.ids) == len(vocabulary.is_thing) == len(vocabulary)
    assert [tuple(split_synonyms(entry)) for entry in vocabulary.class_entries] == list(vocabulary.names)
    assert all(synonym == synonym.strip() for synonyms in vocabulary.names for synonym in synonyms)


def test_things_of_the_panoptic_vocabularies() -> None:
    assert load_vocabulary("coco_panoptic_133").is_thing == (True,) * 80 + (False,) * 53
    assert sum(load_vocabulary("ade20k_150").is_thing) == 100
    cityscapes = load_vocabulary("cityscapes_19")
    assert [i for i, thing in zip(cityscapes.ids, cityscapes.is_thing, strict=True) if thing] == [
        24, 25, 26, 27, 28, 31, 32, 33,
    ]  # fmt: skip


def test_lvis_is_compared_with_the_things_of_coco() -> None:
    lvis, things = load_vocabulary("lvis_1203").class_entries, load_vocabulary("coco_things_80").class_entries
    counts = len(lvis), sum(len(split_synonyms(entry)) for entry in lvis), sum(seen_classes(lvis, things))
    assert counts == (1203, 1825, 71)


@pytest.mark.parametrize(("part", "rest", "whole"), SPLITS)
def test_splits_are_parts_of_their_whole(part: str, rest: str, whole: str) -> None:
    first, second, both = (load_vocabulary(name) for name in (part, rest, whole))
    assert [len(vocabulary) for vocabulary in (first, second)] == [
        int(re.findall(r"\d+", name)[-1]) for name in (part, rest)
    ]
    assert sorted(first.ids + second.ids) == sorted(both.ids)
    kinds = dict(zip(both.ids, both.is_thing, strict=True))
    for vocabulary in (first, second):
        assert vocabulary.is_thing == tuple(kinds[class_id] for class_id in vocabulary.ids)


def test_things_of_coco_and_ade20k() -> None:
    panoptic, things = load_vocabulary("coco_panoptic_133"), load_vocabulary("coco_things_80")
    assert (panoptic.ids[:80], panoptic.names[:80]) == (things.ids, things.names)
    ade, instances = load_vocabulary("ade20k_150"), load_vocabulary("ade20k_instance_100")
    assert instances.ids == tuple(i for i, thing in zip(ade.ids, ade.is_thing, strict=True) if thing)


def test_tables_of_the_ade20k_preparations(shared_dir) -> None:
    def rows(name: str) -> list[list[str]]:
        lines = (shared_dir / "vocabularies" / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
        return [line.split("\t") for line in lines[2:]]

    objects = [int(row[1]) for row in rows("ade20k_847_objects")]
    assert list(load_vocabulary("ade20k_847").ids) == objects  # row number: value of the prepared label maps
    instances = load_vocabulary("ade20k_instance_100")
    mapping = {int(row[0]): (int(row[2]), row[4]) for row in rows("ade20k_instance_100_catid_mapping")}
    assert mapping == {
        place: (class_id, names[0])
        for place, (class_id, names) in enumerate(zip(instances.ids, instances.names, strict=True), start=1)
    }


def test_the_published_rule_is_letter_by_letter() -> None:
    assert seen_classes(["human, man", "Dog", "sky"], ["person,human", "dog", "sky"]) == [True, False, True]


def test_case_and_blanks_do_not_matter() -> None:
    train = ["person,human", "dog", "traffic light", "Café"]
    test = ["man,HUMAN", " Dog", "sky", "Traffic  light", "cafe\u0301", "dogs"]
    assert seen_ignoring_case(test, train) == [True, True, False, True, True, False]
    assert spelling_notes(test, train) == [
        "4 classes count as seen, but are spelt with other case or blanks: man,  Dog, Traffic  light, cafe\u0301"
    ]


@pytest.mark.parametrize("swap", [False, True])
def test_case_matters_where_it_tells_classes_apart(swap: bool) -> None:
    """The country, the bird; in either list. The other names of such classes are compared as usual."""
    birds, other = ["Turkey, country", "turkey, bird"], ["turkey", "BIRD"]
    test, train = (other, birds) if swap else (birds, other)
    assert seen_ignoring_case(test, train) == ([True, True] if swap else [False, True])
    assert seen_ignoring_case(["Turkey", "turkey"], ["turkey"]) == [False, True]
    assert seen_ignoring_case(["TURKEY"], ["Turkey", "turkey"]) == [False]
    assert spelling_notes(["Turkey", "turkey"], ["turkey"]) == [
        "1 classes count as unseen, for other case or blanks tell classes apart here: Turkey"
    ]
    assert seen_ignoring_case(["a, X", "b, X"], ["x"]) == [True, True]  # they share it as it is written


# LVIS counts as training set in no published config.
NEWLY_SEEN = {
    ("ade20k_847", "lvis_1203"): ["ferris wheel"],
    ("lvis_1203", "ade20k_847"): ["Ferris wheel"],
    ("lvis_1203", "pascal_context_459"): ["CD player", "Ferris wheel", "iPod"],
    ("pascal_context_459", "lvis_1203"): ["cd player", "ferris wheel", "ipod"],
}


@pytest.mark.parametrize("trained", builtin_vocabularies())
def test_shipped_vocabularies_keep_what_is_seen(trained: str) -> None:
    """Letter by letter, as in the published results: seen classes, and where a generator's classes land."""
    trained_entries = load_vocabulary(trained).class_entries
    train = [split_synonyms(entry) for entry in trained_entries]
    for tested in builtin_vocabularies():
        entries = load_vocabulary(tested).class_entries
        test = [split_synonyms(entry) for entry in entries]
        exact, found = (rule(entries, trained_entries) for rule in (seen_classes, seen_ignoring_case))
        newly = [names[0] for names, old, new in zip(test, exact, found, strict=True) if old != new]
        assert newly == NEWLY_SEEN.get((tested, trained), [])
        if not newly:
            assert train_to_test_lookup(*comparable_names(train, test)).equal(train_to_test_lookup(train, test))


def test_names_that_are_one_to_the_text_encoder() -> None:
    def tokenize(sentences: list[str]) -> np.ndarray:
        """Letters without case, cut after nine."""
        return np.array([[ord(letter) for letter in sentence.lower()[:9].ljust(9)] for sentence in sentences])

    names = [["Dog"], ["cat", "kitten"], ["dog", "DOG"], ["CAT", "puma"], ["a long name"], ["a long names"]]
    same = same_to_encoder(names, tokenize, ["{}", "{} x"])
    assert same.hidden == ("'dog' as 'Dog'", "'a long names' as 'a long name'")
    assert same.shared == ("'CAT' as 'cat'",)
    assert same.lines() == [
        "2 classes never win, for the text encoder reads their names as those of earlier ones: 'dog' as 'Dog', "
        "'a long names' as 'a long name'",
        "1 classes have names that the text encoder reads as those of earlier ones: 'CAT' as 'cat'",
    ]
    # Another template shows what the first one cuts.
    assert same_to_encoder([["my name"], ["my names"]], tokenize, ["a {}", "{}"]).lines() == []
    assert same_to_encoder([["lion, big"], ["lion"]], tokenize, ["{}"]).lines() == []


def test_split_keeps_repetitions_and_inner_blanks() -> None:
    assert split_synonyms("a, b,c ,a") == ["a", "b", "c ", "a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# only a comment\n", "has no classes"),
        ("0\tthing\tcat\n1\tthing\tcat\n", r"line 2: class 'cat' is listed twice"),
        ("0\tthing\tcat\n0\tthing\tdog\n", r"line 2: id 0 is already used in line 1"),
        ("0\tthing\tcat,,dog\n", r"line 1: empty class name or stray comma"),
        ("0\tthing\t\n", r"line 1: empty class name"),
        ("zero\tthing\tcat\n", r"line 1: id 'zero'"),
        ("0\tanimal\tcat\n", r"line 1: 'animal' is neither"),
        ("# x\n0 thing cat\n", r"line 2: 1 tab-separated fields"),
    ],
)
def test_malformed_files(tmp_path, text: str, message: str) -> None:
    path = tmp_path / "mine.tsv"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        load_vocabulary(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_own_file_and_wrong_names(tmp_path) -> None:
    path = tmp_path / "mine.tsv"
    path.write_text("# mine\r\n7\tthing\tcat, kitten\r\n9\tstuff\tsky\r\n")
    vocabulary = load_vocabulary(path)
    assert (vocabulary.name, vocabulary.ids, vocabulary.is_thing) == ("mine", (7, 9), (True, False))
    assert vocabulary.class_entries == ["cat,kitten", "sky"]
    with pytest.raises(UserError, match="did you mean .*ade20k_150"):
        load_vocabulary("ade20k_15")
    with pytest.raises(UserError, match="cannot read vocabulary"):
        load_vocabulary(tmp_path / "absent.tsv")


def test_class_list() -> None:
    assert parse_class_list(["cat, kitten", " big  dog "]) == ["cat,kitten", "big dog"]
    assert parse_class_list("# mine\ncat, kitten; dog\n\nsky\n") == ["cat,kitten", "dog", "sky"]
    assert parse_class_list(["cat,cat"]) == ["cat,cat"]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], "is empty"),
        ("\n# nothing\n", "is empty"),
        (["cat", " "], "class 2 has no name"),
        ("cat;;dog", "class 2 has no name"),
        (["sky", "a,,b"], r"class 2 \('a,,b'\): name 2 of 3 is empty"),
        ([",a"], r"class 1 .* name 1 of 2 is empty"),
        (["a,"], r"class 1 .* name 2 of 2 is empty"),
        (["cat", "dog", "kitten, cat"], "'cat' is a name of class 1 and of class 3"),
        ([None], "class 1 has no name"),
    ],
)
def test_bad_class_lists(classes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_class_list(classes)


def test_templates(shared_dir) -> None:
    golden = json.loads((shared_dir / "golden" / "text_classifier_clip_t14.json").read_text())
    assert list(TEMPLATES["t14"]) == golden["templates"]
    assert TEMPLATES["t1"] == ("a photo of a {}.",)


def test_clip_templates() -> None:
    assert len(TEMPLATES["t80"]) == 80
    assert TEMPLATES["t80"][0] == "a bad photo of a {}." and TEMPLATES["t80"][-1] == "a tattoo of the {}."
    assert all(template.count("{}") == 1 for name in TEMPLATES for template in get_templates(name))
    with pytest.raises(UserError, match="no templates are called 't15'; did you mean"):
        get_templates("t15")
