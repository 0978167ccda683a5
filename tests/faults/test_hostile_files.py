"""Files that somebody broke on purpose: one message that names the file, exit code 2, and nothing written anywhere.

Every JSON file of a run in turn holds each of the contents below; then come files with defects of their own kind.
"""

import json
import struct
from collections.abc import Callable

import pytest
from places import Place, call, contents

from saelab import sealed
from saelab.config import read_yaml

DEEP = b"[" * 200_000
JSONS = {
    "nothing": b"",
    "half an object": b'{"format": 1,',
    "a list": b"[1, 2]",
    "null": b"null",
    "a number": b"7",
    "a string": b'"../../etc"',
    "an empty object": b"{}",
    "deeply nested": DEEP,
    "a deep value": b'{"format": ' + DEEP,
    "no UTF-8": b'{"format": "\xff\xfe"}',
    "UTF-16": '{"format": 1}'.encode("utf-16"),
    "NUL bytes": b"\x00" * 64,
    "a number without end": b'{"format": ' + b"9" * 5000 + b"}",
    "not a number": b'{"format": NaN, "files": Infinity}',
    "unknown keys": b'{"__class__": "os.system", "format": 1}',
    "lists for values": b'{"format": [], "metadata": [], "files": [], "settings": [], "generation": []}',
}
# file of a run -> the command that reads it
READ_BY: dict[str, Callable[[Place], list[str]]] = {
    "sae/small/cfg.json": lambda place: ["index", str(place / "sae/small")],
    "sae/small/training.json": lambda place: ["train", str(place.train)],
    "store/store.json": lambda place: ["train", str(place.train), "--set", "name=again"],
    "store/manifest.json": lambda place: ["train", str(place.train), "--set", "name=again"],
    "index/small/CURRENT": lambda place: ["show", str(place / "sae/small"), "3"],
    "index/small/labels.json": lambda place: ["show", str(place / "sae/small"), "3"],
    "filters.json": lambda place: ["atlas", str(place / "sae/small"), "--saved", "mine"],
}
HARMLESS = {  # what some files may hold: a file without an entry is one with nothing in it
    ("index/small/labels.json", "an empty object"),
    ("filters.json", "an empty object"),
}


def safetensors(header: dict | bytes, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


TENSOR = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
WEIGHTS = {
    "nothing": b"",
    "seven bytes": b"\x01" * 7,
    "a header longer than the file": struct.pack("<Q", 2**40) + b"{}",
    "a header of the largest length": struct.pack("<Q", 2**64 - 1) + b"{}",
    "a header that is no JSON": safetensors(b"{"),
    "a deep header": safetensors(DEEP),
    "no tensors": safetensors({}),
    "a shape beyond the data": safetensors({"W_enc": {**TENSOR, "shape": [2**40, 2**20]}}, b"\0" * 16),
    "a negative shape": safetensors({"W_enc": {**TENSOR, "shape": [-4]}}, b"\0" * 16),
    "offsets beyond the file": safetensors({"W_enc": {**TENSOR, "data_offsets": [0, 2**50]}}, b"\0" * 16),
    "offsets backwards": safetensors({"W_enc": {**TENSOR, "data_offsets": [16, 0]}}, b"\0" * 16),
    "a dtype that is not one": safetensors({"W_enc": {**TENSOR, "dtype": "OBJECT"}}, b"\0" * 16),
    "a pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    "tensors of other names": safetensors({"../../W_enc": TENSOR}, b"\0" * 16),
}
CONFIGS = {
    "sae of no variant": {"variant": "none-such"},
    "a width of a quadrillion": {"d_sae": 10**15},
    "a negative width": {"d_in": -3},
    "a width that is a text": {"d_sae": "../../x"},
    "more kept than there are": {"k": 10**9},
    "an unknown setting": {"import_from": "os"},
}
YAMLS = {
    "nothing": b"",
    "a list": b"- a\n- b\n",
    "a tab": b"store:\n\t- x\n",
    "an object": b"store: !!python/object/apply:os.system ['true']\n",
    "a name": b"store: !!python/name:os.system\n",
    "no UTF-8": b"store: \xff\xfe\n",
    "NUL bytes": b"store: \x00\n",
    "an alias to itself": b"store: &a [*a]\n",
    "a billion laughs": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 9)) for i in range(8)),
    "a key twice": b"store: a\nstore: b\n",
    "deeply nested": b"[" * 5000,
    "a number without end": b"train: {rows: " + b"9" * 5000 + b"}\n",
}
TEXTS = {
    "lines.jsonl": {
        "no JSON": b"{\n",
        "a list": b"[1]\n",
        "no text": b'{"title": "x"}\n',
        "a number for a text": b'{"text": 7}\n',
        "no UTF-8": b'{"text": "\xff"}\n',
        "deeply nested": DEEP + b"\n",
        "a number without end": b'{"text": ' + b"9" * 5000 + b"}\n",
    },
    "rows.parquet": {
        "nothing": b"",
        "a magic number alone": b"PAR1PAR1",
        "text": b"hello",
        "half": b"PAR1" + b"\0" * 99,
    },
}


def refused(place: Place, capsys, arguments: list[str], file: str) -> None:
    """One message that names the file; nothing changed."""
    before = contents(place.folder)
    assert call(arguments) == 2
    said = capsys.readouterr()
    assert said.err.count("Error: ") == 1, said
    assert "Traceback" not in said.out + said.err
    assert file in said.err, said.err
    assert len(said.err) < 2000
    assert contents(place.folder) == before


@pytest.mark.parametrize("content", JSONS)
@pytest.mark.parametrize("file", READ_BY)
def test_a_json_file(place, capsys, file, content):
    arguments = READ_BY[file](place)
    place.write(file, JSONS[content])
    if (file, content) in HARMLESS:
        assert "Traceback" not in capsys.readouterr().err
        return
    refused(place, capsys, arguments, file.rpartition("/")[2])


@pytest.mark.parametrize("content", WEIGHTS)
def test_weights(place, capsys, content):
    place.write("sae/small/sae_weights.safetensors", WEIGHTS[content])
    refused(place, capsys, ["index", str(place / "sae/small")], "sae_weights.safetensors")


@pytest.mark.parametrize("content", CONFIGS)
def test_a_config_that_asks_for_too_much(place, capsys, content):
    path = place / "sae/small/cfg.json"
    config = sealed.read(path)
    config["metadata"]["saelab"]["sae"] |= CONFIGS[content]
    sealed.write(path, config)
    refused(place, capsys, ["index", str(place / "sae/small")], "cfg.json")


@pytest.mark.parametrize("content", YAMLS)
@pytest.mark.parametrize("verb", ["harvest", "train"])
def test_settings(place, capsys, verb, content):
    path = place.write("settings.yaml", YAMLS[content])
    refused(place, capsys, [verb, str(path)], "settings.yaml")


@pytest.mark.parametrize(("file", "content"), [(file, content) for file in TEXTS for content in TEXTS[file]])
def test_a_text(place, capsys, file, content):
    path = place.write(f"hostile/{file}", TEXTS[file][content])
    settings = place.harvest
    refused(place, capsys, ["harvest", str(settings), "--set", f"corpus.paths=[{path}]"], file)


@pytest.mark.parametrize("name", ["../up", "/etc/x", "a/b", ".hidden", "", "x" * 200, "a\nb", "..", "con\0"])
def test_a_name_that_leads_elsewhere(place, capsys, name):
    path = place.yaml("named.yaml", {**read_yaml(place.train), "name": name})
    refused(place, capsys, ["train", str(path)], "name")
