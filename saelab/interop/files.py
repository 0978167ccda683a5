"""Files of other libraries, looked at before they are read: size, names, dtypes, shapes; afterwards that all is finite.

Nothing is unpickled but by `torch.load(weights_only=True)`, and only for formats that have no other file.
"""

import difflib
import hashlib
import json
import math
import warnings
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from saelab.errors import FormatError

JSON_BYTES = 4 << 20  # configurations have a few KB
LARGEST = 1 << 31  # of any width
NO_NPZ = "damaged or no .npz of plain numbers"
NO_PT = "damaged, or holds more than weights, which is not run"
INFLATED = 200  # an .npz may be this many times its size; trained weights compress to about .9
FLOATS = {"F64", "F32", "F16", "BF16"}
INTEGERS = {"I64", "I32"}
TORCH_NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32",
}  # fmt: skip
NUMPY_NAMES = {"<f8": "F64", "<f4": "F32", "<f2": "F16", "<i8": "I64", "<i4": "I32"}


@dataclass(frozen=True)
class TensorFile:
    """A file of tensors of which only the header was read."""

    path: Path
    header: dict[str, tuple[str, tuple[int, ...]]]  # dtype and shape
    load: Callable[[], dict[str, Tensor]]

    def shape(self, name: str, axes: str) -> tuple[int, ...]:
        """The shape of a tensor that must be there with as many axes as `axes` names."""
        if name not in self.header:
            raise FormatError(f"{self.path} has no {name}; it holds: {', '.join(sorted(self.header)) or 'nothing'}.")
        shape = self.header[name][1]
        if len(shape) != len(axes.split()):
            raise FormatError(f"{self.path}: {name} has shape {list(shape)}, where [{axes}] was expected.")
        return shape

    def read(self, wanted: Mapping[str, tuple[int, ...]], implied_by: str) -> dict[str, Tensor]:
        """All tensors, floats as fp32. Raises FormatError unless these names with these shapes are all there is."""
        for name in sorted(self.header.keys() | wanted.keys()):
            there, want = self.header.get(name), wanted.get(name)
            if there is None or want is None or there[1] != want or there[0] not in FLOATS | INTEGERS:
                is_there = "missing" if there is None else f"{there[0]} {list(there[1])}"
                ought = "no such tensor" if want is None else f"floats of shape {list(want)}"
                raise FormatError(f"{self.path}: {name} is {is_there}, where {implied_by} implies {ought}.")
        tensors = self.load()
        for name, tensor in tensors.items():
            if not tensor.isfinite().all():
                raise FormatError(f"{self.path}: {name} holds values that are not finite.")
        return {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}

    @property
    def dtypes(self) -> set[str]:
        """Of the floats."""
        return {dtype for dtype, _ in self.header.values()} & FLOATS


@contextmanager
def broken_is(path: Path, what: str) -> Iterator[None]:
    """Whatever a reader stumbles over in a broken file is one FormatError: `path` is `what`."""
    try:
        yield
    except FormatError:
        raise
    except FileNotFoundError:
        raise FormatError(f"{path} is missing.") from None
    except Exception as error:  # zipfile, numpy and PyTorch raise a dozen kinds, found by fuzzing
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise FormatError(f"{path} is {what} ({reason}).") from None


def open_safetensors(path: Path) -> TensorFile:
    """Its header. Raises FormatError for a file that is missing, cut short or no safetensors."""
    with broken_is(path, "damaged or no safetensors file"), safe_open(path, framework="pt") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        header = {name: (str(part.get_dtype()), tuple(part.get_shape())) for name, part in slices.items()}
    return TensorFile(path, header, lambda: _load_safetensors(path))


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt", device="cpu") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def open_npz(path: Path) -> TensorFile:
    """The header of a numpy archive, never a pickled one."""
    with broken_is(path, NO_NPZ), zipfile.ZipFile(path) as archive:
        _check_archive(path, archive, INFLATED)
        header = {info.filename.removesuffix(".npy"): _npy_header(archive, info) for info in archive.infolist()}
    return TensorFile(path, header, lambda: _load_npz(path))


def _npy_header(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[str, tuple[int, ...]]:
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        if dtype.hasobject or file.tell() + math.prod(shape) * dtype.itemsize != info.file_size:
            raise ValueError(f"{info.filename} is not as long as its header says, or holds objects")
    return NUMPY_NAMES.get(dtype.str, dtype.str), tuple(shape)


def _load_npz(path: Path) -> dict[str, Tensor]:
    with broken_is(path, NO_NPZ), np.load(path, allow_pickle=False) as archive:
        return {name: torch.from_numpy(np.ascontiguousarray(archive[name])) for name in archive.files}


def _check_archive(path: Path, archive: zipfile.ZipFile, times: int) -> None:
    size = sum(info.file_size for info in archive.infolist())
    if size > times * path.stat().st_size:
        raise FormatError(f"{path} would unpack to {size:,} bytes, more than {times} times its own size: not read.")


def open_pt(path: Path) -> TensorFile:
    """The header of a PyTorch state dict, of which only weights are unpickled; what is no tensor is left out."""
    if not path.is_file():
        raise FormatError(f"{path} is missing.")
    with broken_is(path, NO_PT):
        if not zipfile.is_zipfile(path):
            raise FormatError(f"{path} is no file of torch.save (since PyTorch 1.6); save it again with a newer one.")
        with zipfile.ZipFile(path) as archive:
            _check_archive(path, archive, 1)
    tensors = _tensors_of(load_weights_only(path, "meta"))
    header = {name: (TORCH_NAMES.get(t.dtype, str(t.dtype)), tuple(t.shape)) for name, t in tensors.items()}
    if sum(t.numel() * t.element_size() for t in tensors.values()) > path.stat().st_size:
        raise FormatError(f"{path} names more numbers than it holds: tensors are repeated views of one another.")
    return TensorFile(path, header, lambda: _tensors_of(load_weights_only(path, "cpu")))


def _tensors_of(content: Mapping[str, Any]) -> dict[str, Tensor]:
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def load_weights_only(path: Path, device: str) -> dict[str, Any]:
    """What torch.save wrote, as long as that is tensors, numbers and text in a mapping."""
    with broken_is(path, NO_PT), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd pickle protocols
        content = torch.load(path, map_location=device, weights_only=True)
    if not isinstance(content, dict):
        raise FormatError(f"{path} holds a {type(content).__name__}, where a mapping of names to tensors was expected.")
    return content


def read_json(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file of reasonable size. Raises FormatError."""
    try:
        if path.stat().st_size > JSON_BYTES:
            raise FormatError(f"{path} has {path.stat().st_size:,} bytes; a configuration has at most {JSON_BYTES:,}.")
        values = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except FileNotFoundError:
        raise FormatError(f"{path} is missing.") from None
    except (ValueError, RecursionError, OSError) as error:
        raise FormatError(f"{path} is no JSON ({error}).") from None
    if not isinstance(values, dict):
        raise FormatError(f"{path} holds a {type(values).__name__}, where a mapping of settings was expected.")
    return values


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def closed(values: Mapping[str, Any], known: Collection[str], where: str) -> None:
    """Raise FormatError for a key that is not known: it might be a convention that nobody would then convert."""
    for key in sorted(values.keys() - set(known)):
        near = difflib.get_close_matches(key, known, n=1)
        hint = f" Did it mean {near[0]!r}?" if near else ""
        raise FormatError(
            f"{where}: {key!r} is no key that this format is known to have, so what it changes is not known.{hint}\n"
            f"  fix:   take it out of a copy, if you know that it does not change what the SAE computes"
        )


def needed(values: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    """The value of a key without which the file cannot be understood."""
    if values.get(key) is None:
        raise FormatError(
            f"{where} does not say {key}, which decides what the SAE computes; it is not guessed.\n"
            f"  fix:   write {key!r} into a copy, if you know its value"
        )
    value = values[key]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise FormatError(f"{where}: {key} = {value!r} is not {'an' if kind is int else 'a'} {kind.__name__}.")
    return value


def width(values: Mapping[str, Any], key: str, where: str) -> int:
    """A number of coordinates, features or kept activations."""
    value = int(needed(values, key, int, where))
    if not 0 < value < LARGEST:
        raise FormatError(f"{where}: {key} = {value} is no width.")
    return value


def number(values: Mapping[str, Any], key: str, where: str) -> float:
    """A finite number, whole or not."""
    value = needed(values, key, object, where)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise FormatError(f"{where}: {key} = {value!r} is not a number.")
    return float(value)


def digest(files: Iterable[Path]) -> str:
    """SHA-256 over the files' contents, one behind the other."""
    total = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                total.update(block)
    return total.hexdigest()
