"""Files that are written whole or not at all, the checksums that tell whether they still are, and types on reading."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import re
import tempfile
from collections.abc import Callable, Hashable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from ._formatting import one_line

Kind = TypeVar("Kind")


def sha256_of(file: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def require_sha256(file: Path, expected: str, cure: str) -> None:
    """Raise a ``ValueError`` that ends in ``cure`` unless ``file`` has the sha256 ``expected``."""
    try:
        found = sha256_of(file)
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({reason_of(error)}); {cure}") from error
    if found != expected:
        raise ValueError(f"{file} is damaged or another version (sha256 {found[:12]}…, not {expected[:12]}…); {cure}")


def damaged_name(file: Path, stem: str, suffix: str = "") -> Path:
    """What a damaged file is called when it is put aside: the first of stem.damaged-1, -2, … that is free beside it."""
    names = (file.with_name(f"{stem}.damaged-{number}{suffix}") for number in itertools.count(1))
    return next(path for path in names if not path.exists())


def write_atomically(file: Path, content: str | bytes, mode: int = 0o644) -> None:
    """Write a file whole or not at all; what was there before stays until the new one is on the disk.

    Args:
        file: its folder must exist.
        content: text is written as UTF-8.
        mode: the file's permissions.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    handle, draft = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.", suffix=".new")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(draft, mode)
        os.replace(draft, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise


def to_disk(path: Path) -> None:
    """Have the system write out what it still holds in memory of a file or folder: a power cut must not leave half."""
    if os.name == "nt" and path.is_dir():  # folders cannot be opened there
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def reason_of(error: BaseException) -> str:
    """What the system said of a file that could not be read or written, in one line, without the error's number."""
    text = str(getattr(error, "strerror", None) or error)
    wrapped = re.search(r"I/O error: (.+?) \(os error", text)  # by safetensors
    lines = (wrapped[1] if wrapped else text).strip().splitlines()
    return lines[0].lower() if lines else type(error).__name__


# -- values that carry a checksum --------------------------------------------------------------------------------------


def digest_of(values: object) -> str:
    """The sha256 of JSON values, in hexadecimal: of what they say, however the file lays them out."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


class FormatError(ValueError):
    """What was read is whole, but of another version of the format."""


def seal(version: int, values: dict[str, Any]) -> dict[str, Any]:
    """JSON values with the version of their format and their checksum beside them; ``unseal`` takes both off again."""
    content = {"format": version, **values}
    return {**content, "checksum": digest_of(content)}


def unseal(version: int, text: str | bytes, name: str) -> dict[str, Any]:
    """The values that were sealed, from the text of their JSON object.

    Args:
        version: of the format that can be read here.
        text: what was read.
        name: what it is called in the complaint.

    Raises:
        FormatError: in one line, where they are of another format.
        ValueError: in one line, where they are damaged.
    """
    try:
        values = dict(json.loads(text))
        found, given = values["format"], values.pop("checksum", None)
        digest = digest_of(values)
    except (ValueError, LookupError, TypeError, RecursionError):
        raise ValueError(f"{name} cannot be read") from None
    if isinstance(found, int) and found != version and given in (digest, None):  # there was a time without checksums
        raise FormatError(f"{name} has format {found}; this version of stablelab reads {version}")
    if given != digest:
        raise ValueError(f"{name} is not what was written")
    del values["format"]
    return values


# -- plain values as what they were ------------------------------------------------------------------------------------


def as_declared(kind: type[Kind], value: object, name: str) -> Kind:
    """Plain values, as JSON or ``torch.load`` gives them, as a dataclass, checked against the types of its fields.

    Where a tuple is declared a list will do, and a whole number for a float. Missing fields take their default.

    Args:
        kind: a dataclass.
        value: what was read.
        name: what it is called in the complaint.

    Raises:
        ValueError: in one line, with the field that is missing, unknown or of another type.
    """
    return cast(Kind, _reader(cast(Hashable, kind))(value, name))


@cache
def _reader(kind: Any) -> Callable[[Any, str], Any]:
    """What checks a value against one type, and makes it of it: put together once for each type."""
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return lambda value, name: value
    if is_dataclass(kind):
        return _fields_reader(kind)
    if NoneType in parts:
        inner = _reader(parts[0])
        return lambda value, name: None if value is None else inner(value, name)
    if origin is tuple:
        each = _reader(parts[0])
        return lambda value, name: tuple(each(one, name) for one in _checked((list, tuple), value, name))
    if origin in (dict, Mapping):
        key, content = map(_reader, parts)
        return lambda value, name: {key(k, name): content(v, name) for k, v in _checked((dict,), value, name).items()}
    return lambda value, name: _checked((int, float) if kind is float else (kind,), value, name)


def _fields_reader(kind: Any) -> Callable[[Any, str], Any]:
    types = get_type_hints(kind)
    readers = {field.name: _reader(types[field.name]) for field in fields(kind)}
    needed = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}

    def read(value: Any, name: str) -> Any:
        given = _checked((dict,), value, name).keys()
        odd = sorted(map(str, (needed - given) | (given - readers.keys())))
        if odd:
            raise ValueError(f"{name} {'has no' if odd[0] in needed else 'has an unknown'} {odd[0]!r}")
        return kind(**{field: readers[field](one, f"{name}.{field}") for field, one in value.items()})

    return read


def _checked(kinds: tuple[type, ...], value: Any, name: str) -> Any:
    fits = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
    if fits and isinstance(value, int) and float in kinds:
        fits = abs(value) < 2**1000  # no float is larger by much
    if not fits:
        raise ValueError(f"{name} is {one_line(repr(value), 41)}; it must be {kinds[-1].__name__}")
    return value
