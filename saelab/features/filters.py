"""Filters of the atlas that somebody saved: `filters.json` in the run's folder, {"name": "density > 0.1"}.

One small file for all SAEs of a run, written whole; two that save at once wait for each other.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from saelab import sealed
from saelab.atomic import write_json
from saelab.errors import FeatureIndexError
from saelab.features.where import Where

NAME = "filters.json"
NAMED = re.compile(r"[^\W_][\w .,+-]{0,59}")


def read_filters(run: Path) -> dict[str, str]:
    """The saved filters of the run at `run`, by name; none when nobody has saved any."""
    try:
        values = sealed.read(run / NAME)
        return {str(name): str(values[name]) for name in sorted(values)}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError) as error:
        raise FeatureIndexError(
            f'{run / NAME} is not a mapping of NAME to "FILTER": {error}\n  fix:   mend or delete it'
        ) from None


def saved_filter(run: Path, name: str) -> Where:
    """One saved filter. Raises FeatureIndexError, naming those there are, when it is not among them."""
    known = read_filters(run)
    if name not in known:
        raise FeatureIndexError(f"{run / NAME} holds no filter {name!r}. It holds: {', '.join(known) or 'none'}.")
    return Where.parse(known[name])


def save_filter(run: Path, name: str, text: str) -> None:
    """Keep a filter, in place of one of the same name. Raises FeatureIndexError for one that cannot be read back."""
    if not NAMED.fullmatch(name):
        raise FeatureIndexError(
            f"{name!r} cannot name a filter: up to 60 letters, digits, spaces and . , + - _, a letter or digit first."
        )
    Where.parse(text)
    with _alone(run):
        write_json(run / NAME, {**read_filters(run), name: text})


def drop_filter(run: Path, name: str) -> None:
    """Forget a filter; one that is not there is no mistake."""
    with _alone(run):
        write_json(run / NAME, {key: text for key, text in read_filters(run).items() if key != name})


@contextmanager
def _alone(run: Path) -> Iterator[None]:
    handle = os.open(run, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
