"""Between frozen dataclasses and plain JSON."""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np


def to_plain(value: Any) -> Any:
    """Turn mappings, sequences and NumPy scalars into what JSON knows.

    Floats keep nine digits: enough to find 8/255 again, few enough that sums taken in another
    order agree.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return value


def from_plain(kind: Any, content: Any) -> Any:
    """Build what the annotation ``kind`` says: dataclasses, tuples, mappings, optional values.

    Unknown keys are passed over, and missing ones take their default.

    Raises:
        KeyError, TypeError: a part is missing, or of another kind.
    """
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        needed = {f.name for f in fields(kind) if f.default is f.default_factory is MISSING}
        names = [name for name in hints if name in content or name in needed]
        return kind(**{name: from_plain(hints[name], content[name]) for name in names})
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return None if content is None else from_plain(arguments[0], content)
    if origin is tuple:
        return tuple(from_plain(arguments[0], item) for item in content)
    if origin is Mapping:
        return {key: from_plain(arguments[1], item) for key, item in content.items()}
    return content
