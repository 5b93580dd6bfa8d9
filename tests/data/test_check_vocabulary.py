"""The check of vocabularies and its door."""

from __future__ import annotations

import pytest

from maskclippp.data.vocabularies import builtin_vocabularies
from maskclippp.data.vocabularies.check import check_vocabulary, compare_with, read_classes
from maskclippp.utils.errors import UserError
from tests.common import run_door


@pytest.mark.parametrize("name", builtin_vocabularies())
def test_shipped_vocabularies_have_no_problem(name) -> None:
    assert not check_vocabulary(name).problems


def test_all_problems_of_a_file_are_told(tmp_path) -> None:
    path = tmp_path / "mine.tsv"
    path.write_text("0\tthing\tcat,,dog\nx\tthing\tcat\n5\tthing\tdog\n5\tstuff\tbird\n6\tstuff\tdog\n")
    report = check_vocabulary(str(path))
    assert [problem.split(": ")[0].removeprefix(f"{path}, ") for problem in report.problems] == [
        "line 1", "line 2", "line 4", "line 5",
    ]  # fmt: skip
    with pytest.raises(UserError, match="line 1: empty class name.*; .*line 2: id 'x'"):
        read_classes(str(path))


def test_doubtful_files(tmp_path) -> None:
    path = tmp_path / "mine.tsv"
    path.write_text("3\tthing\tcat, cat\n9\tstuff\tdog , puppy\n10\tstuff\tcat, kitten\n")
    report = check_vocabulary(str(path), num_classes=4)
    assert report.lines() == [
        f"{path}: 3 classes, 6 names, 1 things, FAIL",
        "  problem: blanks around 'dog ': names are compared letter by letter",
        "  problem: 3 classes, expected 4",
        "  note: a name is repeated, and counts twice, within cat",
        "  note: 5 ids between 3 and 10 are unused: 4, 5, 6, 7, 8",
        "  note: 1 classes have names that the text encoder reads as those of earlier ones: 'cat' as 'cat'",
    ]


def test_class_lists(tmp_path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("# pets\ncat, kitten; dog\nsky\n")
    vocabulary = read_classes(str(path))
    assert vocabulary.names == (("cat", "kitten"), ("dog",), ("sky",)) and vocabulary.ids == (0, 1, 2)
    assert check_vocabulary(str(path)).lines() == [f"{path}: 3 classes, 4 names, class list, OK"]
    path.write_text("cat\nsky,\n")
    with pytest.raises(UserError, match=r"mine\.txt: class list: class 2 \('sky,'\)"):
        read_classes(str(path))
    with pytest.raises(UserError, match="no vocabulary is called 'absent.txt'"):
        read_classes("absent.txt")


def test_seen_and_unseen() -> None:
    seen, unseen = compare_with(read_classes("ade20k_150"), read_classes("coco_stuff_171"))
    assert (len(seen), len(unseen), unseen[:2]) == (67, 83, ["painting", "house exterior"])


def test_door(root_dir, monkeypatch, capsys, tmp_path) -> None:
    door = root_dir / "tools" / "check_vocabulary.py"
    path = tmp_path / "mine.txt"
    path.write_text("cat, kitten\nunicorn\n")
    assert run_door(monkeypatch, door, str(path), "cityscapes_19", "--against", "coco_stuff_171") == 0
    out = capsys.readouterr().out
    assert "  seen against coco_stuff_171: 1\n    cat\n" in out
    assert "  unseen against coco_stuff_171: 1\n    unicorn\n" in out
    assert "unseen against coco_stuff_171: 2\n    pole, rider\n" in out
    assert run_door(monkeypatch, door, str(path), "--classes", "3") == 1
    done = run_door(monkeypatch, door, "cityscapes_19", "--against", "coco_stuff")
    assert done.startswith("error: no vocabulary is called 'coco_stuff'; did you mean ")


def test_classes_that_clip_cannot_tell_apart(root_dir, monkeypatch, capsys, tmp_path) -> None:
    long = " ".join(["very"] * 80)
    path = tmp_path / "mine.txt"
    path.write_text(f"Dog\ncat\ndog\n{long} old\n{long} new\nkitten, CAT\nRed Circle\n")
    assert run_door(monkeypatch, root_dir / "tools/check_vocabulary.py", str(path), "--against", "toy_60") == 1
    out = capsys.readouterr().out
    shown = f"'{long[:60]}...'"
    assert (
        "  problem: 2 classes never win, for the text encoder reads their names as those of earlier ones: "
        f"'dog' as 'Dog', {shown} as {shown}\n"
        "  problem: 1 classes have names that the text encoder reads as those of earlier ones: "
        "'CAT' of 'kitten' as 'cat'\n"
    ) in out
    assert "  seen against toy_60: 1\n    Red Circle\n" in out
    assert "  note: 1 classes count as seen, but are spelt with other case or blanks: Red Circle\n" in out
    # Published lists have such classes, and stay as they are.
    assert any("27 classes never win" in note for note in check_vocabulary("ade20k_847").notes)
