"""Each edit of detectron2's source applies exactly as often as expected, or not at all."""

from __future__ import annotations

import compileall

import pytest


@pytest.fixture
def source(tmp_path):
    (tmp_path / "a.py").write_text("x = np.int(1)\ny = np.int64(np.int(2))\n")
    return tmp_path


def test_edit_replaces_all_matches(edits, source):
    edits.Edit("a.py", r"\bnp\.int\b", "int", count=2).apply(source)
    assert (source / "a.py").read_text() == "x = int(1)\ny = np.int64(int(2))\n"


@pytest.mark.parametrize("pattern, count, found", [(r"\bnp\.int\b", 1, 2), (r"\bnp\.int\b", 3, 2), ("absent", 1, 0)])
def test_other_number_of_matches_is_refused_and_changes_nothing(edits, source, pattern, count, found):
    before = (source / "a.py").read_text()
    with pytest.raises(edits.EditError, match=rf"^a\.py: .* matches {found} times, expected {count}; "):
        edits.Edit("a.py", pattern, "", count).apply(source)
    assert (source / "a.py").read_text() == before


def test_missing_file_is_refused(edits, tmp_path):
    with pytest.raises(edits.EditError, match=r"gone/b\.py: no such file in the source"):
        edits.Edit("gone/b.py", "x", "y").apply(tmp_path)


def test_all_edits_fit_the_sdist_and_leave_valid_python(backend, edits, sdist, tmp_path):
    source = backend.prepare_source(sdist, tmp_path)
    assert f'__version__ = "{edits.VERSION}"' in (source / "detectron2" / "__init__.py").read_text()
    setup = (source / "setup.py").read_text()
    for gone in ("\nimport torch", "pb1-", "black==", "<0.1.10", '"future"', " @ https", "ext_modules=get"):
        assert gone not in setup
    assert compileall.compile_dir(source / "detectron2", quiet=1)
    with pytest.raises(edits.EditError, match="matches 0 times"):
        edits.apply_edits(source, edits.EDITS)


def test_changed_source_is_refused(backend, edits, sdist, tmp_path):
    source = backend.unpack(sdist, tmp_path)
    changed = source / "detectron2" / "data" / "build.py"
    changed.write_text(changed.read_text().replace("dtype=np.int)", "dtype=np.int64)", 1))
    with pytest.raises(edits.EditError, match=r"detectron2/data/build\.py: .* matches 1 times, expected 2"):
        edits.apply_edits(source, edits.EDITS)
