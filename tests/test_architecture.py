"""The rooms and the arrows between them, held by looking at every import."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"kernels": ROOT / "kernels", "app": ROOT / "app"}

OPEN = {
    "errors",
    "contracts",
    "config",
    "metrics",
    "atomic",
    "sealed",
    "locks",
    "process",
    "page",
    "signs",
}  # not kernels
MAY_IMPORT: dict[str, set[str]] = {
    "kernels": set(),
    "corpora": set(),
    "lm": set(),
    "store": set(),
    "sae": {"kernels"},
    "interop": {"features", "sae", "lm"},
    "pretrain": {"corpora"},
    "harvest": {"corpora", "lm", "store"},
    "train": {"sae", "store", "kernels"},
    "synthetic": {"sae", "store"},
    "prove": {"corpora", "synthetic", "harvest", "evals", "train", "store", "lm", "sae", "kernels"},
    "features": {"sae", "store", "lm"},
    "intervene": {"sae", "store", "lm"},
    "evals": {"features", "intervene", "synthetic", "sae", "store", "lm", "corpora", "harvest"},
    "explain": {"evals", "features", "sae", "store", "lm", "corpora", "harvest"},
    "bench": {"harvest", "corpora", "lm", "store", "features", "train", "sae", "kernels"},
}
EVERYTHING = set(MAY_IMPORT) | {"runs"}
MAY_IMPORT["cli"] = EVERYTHING | {"demo", "app"}
MAY_IMPORT["app"] = EVERYTHING
PEERS = ROOT / "saelab" / "bench" / "peers"  # run by other environments, with what is installed there
ONLY = {  # package -> the rooms that may import it
    "transformer_lens": {"lm"},
    "transformers": {"lm", "pretrain"},
    "streamlit": {"app"},
    "plotly": {"app", "bench", "evals"},
    "duckdb": {"store", "features"},
    "triton": {"kernels"},
    "rich": {"cli"},
    "click": {"cli"},
}


def folder(room: str) -> Path:
    return FOLDERS.get(room, ROOT / "saelab" / room)


def imports(file: Path) -> set[str]:
    """Every module that `file` imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return found


def rooms_imported_by(file: Path) -> set[str]:
    return {parts[1] for parts in (name.split(".") for name in imports(file)) if parts[0] == "saelab" and parts[1:]}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_the_rooms_below_it(room):
    allowed = MAY_IMPORT[room] | {room} | (set() if room == "kernels" else OPEN)
    known = set(MAY_IMPORT) | OPEN | {"runs", "demo"}
    for file in folder(room).rglob("*.py"):
        extra = (rooms_imported_by(file) & known) - allowed
        assert not extra, f"{file.relative_to(ROOT)}: saelab.{room} may not import {sorted(extra)}"


@pytest.mark.parametrize("package", ONLY)
def test_a_package_is_imported_in_its_room_only(package):
    for room in MAY_IMPORT:
        for file in set(folder(room).rglob("*.py")) - set(PEERS.glob("*.py")):
            tops = {name.split(".")[0] for name in imports(file)}
            assert package not in tops or room in ONLY[package], f"{file.relative_to(ROOT)} imports {package}"


def test_every_folder_is_a_known_room():
    rooms = {path.name for path in (ROOT / "saelab").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms <= set(MAY_IMPORT)


def test_kernels_is_no_package_of_its_own():
    assert not (ROOT / "kernels" / "__init__.py").exists()  # transformers would import it as the hub's `kernels`


@pytest.mark.parametrize(
    "file", sorted((ROOT / "saelab").rglob("*.py")) + sorted(ROOT.glob("kernels/**/*.py")), ids=str
)
def test_files_stay_under_300_lines(file):
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 300


def test_the_wheel_holds_every_module():
    scope: dict[str, object] = {"__file__": str(ROOT / "setup.py"), "__name__": "setup"}
    source = (ROOT / "setup.py").read_text(encoding="utf-8").split("\nsetup(")[0]
    exec(compile(source, "setup.py", "exec"), scope)
    folders = {str(Path(path)) for path in scope["package_dir"].values()}  # type: ignore[attr-defined]
    for top in ("saelab", "kernels", "app"):
        for file in (ROOT / top).rglob("*.py"):
            assert str(file.parent.relative_to(ROOT)) in folders, file
