"""Imports go down only: the floors of the package, read from its import statements."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "maskclippp"

FLOORS = {
    0: {"structures", "config", "utils"},
    1: {"data"},
    2: {"visual_encoders", "text_encoders", "mask_generators", "similarity", "criteria", "inference"},
    3: {"methods", "evaluation"},
    4: {"engine", "predictor", "offline_masks"},
    5: {"toy"},
}
FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "assets" not in path.parts)


def room_of(path: Path) -> str:
    """The first part below the package, without suffix."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """Rooms of the package that a file imports, by absolute or relative name."""
    own = ("maskclippp", *path.relative_to(PACKAGE).parent.parts)
    names: set[tuple[str, ...]] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {tuple(alias.name.split(".")) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = own[: len(own) - node.level + 1] if node.level else ()
            module = (*start, *(node.module.split(".") if node.module else ()))
            names |= {(*module, alias.name) for alias in node.names} if len(module) == 1 else {module}
    return {name[1] for name in names if name[0] == "maskclippp" and len(name) > 1 and name[1] in FLOOR_OF}


def test_every_room_has_a_floor():
    rooms = {room_of(path) for path in FILES} - {"__init__"}
    assert rooms <= set(FLOOR_OF), f"put {sorted(rooms - set(FLOOR_OF))} on a floor of this test"


def test_imports_go_down():
    wrong = []
    for path in FILES:
        room = room_of(path)
        for other in imported_rooms(path) - {room} if room in FLOOR_OF else ():
            floor, other_floor = FLOOR_OF[room], FLOOR_OF[other]
            strangers = floor == other_floor and floor in (2, 3)
            if other_floor > floor or strangers:
                wrong.append(f"{path.relative_to(PACKAGE)} [{floor}] imports {other} [{other_floor}]")
    assert not wrong


def misplaced_imports(path: Path) -> list[str]:
    """Imports that are relative across rooms, or absolute inside one; the package's own files are rooms of one file."""
    own = ("maskclippp", *path.relative_to(PACKAGE).parent.parts)
    wrong = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            start = own[: len(own) - node.level + 1]
            if len(start) < 2:  # it leads out of the room
                wrong.append(f"{path.name}:{node.lineno} from {'.' * node.level}{node.module or ''}")
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
            inside = [name for name in modules if len(own) > 1 and f"{name}.".startswith(".".join(own[:2]) + ".")]
            wrong += [f"{path.name}:{node.lineno} {name}" for name in inside]
    return wrong


def test_imports_are_relative_inside_a_room_and_absolute_across():
    assert [place for path in FILES for place in misplaced_imports(path)] == []


def test_the_reader_of_misplaced_imports_sees_them(tmp_path, monkeypatch):
    package = tmp_path / "maskclippp"
    (package / "data" / "mappers").mkdir(parents=True)
    monkeypatch.setitem(globals(), "PACKAGE", package)
    file = package / "data" / "mappers" / "bad.py"
    right = "from ..images import a\nfrom maskclippp.database import b\nfrom . import c\nimport maskclippp.utils\n"
    file.write_text(f"{right}from ...utils import d\nfrom maskclippp.data import e\nimport maskclippp.data.images\n")
    assert [place.split()[0] for place in misplaced_imports(file)] == ["bad.py:5", "bad.py:6", "bad.py:7"]
    top = package / "top.py"
    top.write_text("from .utils import a\nfrom maskclippp.data import b\n")
    assert len(misplaced_imports(top)) == 1


def test_first_line_of_each_file_tells_its_purpose():
    docstrings = {path: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) for path in FILES}
    assert not [str(path) for path, docstring in docstrings.items() if not docstring]


def test_the_reader_of_imports_sees_relative_and_absolute_ones(tmp_path, monkeypatch):
    package = tmp_path / "maskclippp"
    (package / "structures").mkdir(parents=True)
    file = package / "structures" / "bad.py"
    file.write_text("from ..methods import x\nfrom maskclippp.data.images import y\nfrom .. import engine\n")
    monkeypatch.setitem(globals(), "PACKAGE", package)
    assert imported_rooms(file) == {"methods", "data", "engine"}
