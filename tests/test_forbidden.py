"""Calls by which a file from elsewhere could run code are nowhere in the product."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BUILTINS = {"eval", "exec", "compile", "__import__"}
UNPICKLERS = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
LOADS = {"load", "loads", "Unpickler", "open"}


def forbidden(source: str) -> list[str]:
    """What in `source` is forbidden, and on which line."""
    return [f"{node.lineno}: {why}" for node, why in _found(ast.parse(source))]


def _found(tree: ast.AST) -> Iterator[tuple[ast.expr, str]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        given = {word.arg: ast.unparse(word.value) for word in node.keywords if word.arg}
        room, _, last = name.rpartition(".")
        if name in BUILTINS:
            yield node, f"{name}() runs text as code"
        if room in UNPICKLERS and last in LOADS:
            yield node, f"{name}() runs what the file says"
        if name == "torch.load" and given.get("weights_only") != "True":
            yield node, "torch.load without weights_only=True"
        if name in ("np.load", "numpy.load") and given.get("allow_pickle") != "False":
            yield node, "np.load without allow_pickle=False"
        if name in ("yaml.full_load", "yaml.unsafe_load", "yaml.load_all") or (
            name == "yaml.load" and [ast.unparse(given) for given in node.args[1:]] != ["_Loader"]
        ):
            yield node, f"{name} builds objects: yaml.safe_load, or config's _Loader, a SafeLoader"
        if given.get("trust_remote_code", "False") != "False":
            yield node, "trust_remote_code runs a repository's code"
        if given.get("shell", "False") != "False" or name in ("os.system", "os.popen"):
            yield node, "a shell reads what it is given"


def test_the_product_calls_none_of_them():
    files = [file for room in ("saelab", "kernels", "app") for file in sorted((ROOT / room).rglob("*.py"))]
    assert len(files) > 200
    found = {str(file.relative_to(ROOT)): forbidden(file.read_text(encoding="utf-8")) for file in files}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "source",
    [
        "eval(text)",
        "exec(text)",
        "pickle.load(file)",
        "pickle.Unpickler(file)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text, Loader)",
        "load_dataset(name, trust_remote_code=True)",
        "load_dataset(name, trust_remote_code=flag)",
        "subprocess.run(text, shell=True)",
        "os.system(text)",
    ],
)
def test_each_of_them_is_found(source):
    assert forbidden(source)


@pytest.mark.parametrize(
    "source",
    ["sae.eval()", "torch.load(path, weights_only=True)", "np.load(path, allow_pickle=False)", "yaml.safe_load(text)"],
)
def test_what_is_harmless_is_not(source):
    assert not forbidden(source)
