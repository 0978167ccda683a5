"""Whose turn it is: one page computes at a time, first come, first served, and those who wait are told their place."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from saelab.errors import SaelabError

POLL = 0.1  # seconds between two looks at the queue: how soon a page that waits notices that it was stopped


class Turns:
    """A queue. The first in it has the turn."""

    def __init__(self) -> None:
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """How many compute or wait."""
        return len(self._queue)

    @contextmanager
    def mine(self, patience: float, waiting: Callable[[int], None] = lambda before: None) -> Iterator[None]:
        """Inside the block it is this thread's turn. `waiting` is told, again and again, how many are before it.

        What `waiting` raises ends the wait and gives the place up. Raises SaelabError after `patience` seconds.
        """
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
        try:
            self._wait(ticket, patience, waiting)
            yield
        finally:
            with self._changed:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def _wait(self, ticket: object, patience: float, waiting: Callable[[int], None]) -> None:
        until = time.monotonic() + patience
        while before := self._before(ticket):
            if time.monotonic() > until:
                which = "another page has" if before == 1 else f"{before} other pages have"
                raise SaelabError(
                    f"{which} been computing before this one for more than {patience:g} s.\n"
                    "  fix:   try again when they are done"
                )
            waiting(before)
            with self._changed:
                self._changed.wait_for(lambda: self._queue[0] is ticket, timeout=POLL)

    def _before(self, ticket: object) -> int:
        with self._changed:
            return self._queue.index(ticket)
