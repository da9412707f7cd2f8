"""Base of all configuration objects, and how a YAML file becomes one: a mistake is told with the file, the line, the key and
what is allowed there."""

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.core.errors import ConfigError

Name = Field(pattern=r"^[a-z0-9][a-z0-9_\-]{0,62}$", description="lower-case letters, digits, '-' and '_'")


class Settings(BaseModel):
    """Base of all configuration objects: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def digest(self) -> str:
        """Short hash of the values, written into every manifest."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()[:16]


T = TypeVar("T", bound=Settings)


def read_yaml(path: Path, kind: type[T]) -> T:
    """The settings in a file. Raises ConfigError: one line, of the first mistake."""
    try:
        text = path.read_text(encoding="utf-8")
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark else "somewhere"
        raise ConfigError(f"{path}: {where}: not valid YAML: {getattr(error, 'problem', error)}") from error
    _refuse_twice(path, tree)
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: line 1: expected keys and values; allowed keys: {', '.join(kind.model_fields)}")
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(path, tree, kind, error)) from None


def _refuse_twice(path: Path, node: Any) -> None:
    """YAML takes the last of a key that stands twice; who wrote it meant one of them."""
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                raise ConfigError(
                    f"{path}: line {line}: {key.value}: given twice, first in line {seen[key.value]}; delete one"
                )
            seen[key.value] = line
            _refuse_twice(path, value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_twice(path, item)


def _explain(path: Path, tree: Any, kind: type[Settings], error: ValidationError) -> str:
    """One line for the first mistake: file, line, key, what was found, what is allowed."""
    found = error.errors(include_url=False)
    first = next(
        (one for one in found if one["type"] == "extra_forbidden"), found[0]
    )  # a misspelt key is also a missing one
    location = list(first["loc"])
    key = ".".join(str(part) for part in location) or "(top)"
    text = f"{path}: line {_line_of(tree, location)}: {key}: "
    if first["type"] == "extra_forbidden":
        allowed = _fields_at(kind, location[:-1])
        return f"{text}unknown key; allowed keys: {', '.join(allowed)}"
    if first["type"] == "missing":
        return f"{text}needed but not given"
    return f"{text}{first['msg'].removeprefix('Value error, ')} (found {first['input']!r:.80})"


def _line_of(node: Any, location: list[Any]) -> int:
    line = node.start_mark.line + 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    node, line = value, key.start_mark.line + 1
                    break
            else:
                return line
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            return line
    return line


def _fields_at(kind: Any, location: list[Any]) -> list[str]:
    """Field names of the settings object that a location in the file points into."""
    for part in location:
        if isinstance(kind, type) and issubclass(kind, Settings):
            if part not in kind.model_fields:
                continue  # a position in a list, or the name of an entry: still inside the same kind of object
            kind = kind.model_fields[part].annotation
        for inner in getattr(kind, "__args__", ()):
            if isinstance(inner, type) and issubclass(inner, Settings):
                kind = inner
                break
    if isinstance(kind, type) and issubclass(kind, Settings):
        return list(kind.model_fields)
    return []
