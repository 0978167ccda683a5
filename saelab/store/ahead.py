"""Run an iterator in a thread of its own, a few items ahead of whoever reads it."""

import queue
import threading
from collections.abc import Generator, Iterator
from typing import Any, TypeVar

from saelab.process import stay_on_one_core

T = TypeVar("T")
_END = object()


def ahead(source: Iterator[T], depth: int) -> Generator[T, None, None]:
    """The items of `source`, up to `depth` of them made before they are asked for.

    Item n + depth + 1 is begun when item n + 1 has been asked for, so depth + 1 buffers can be used in turn.
    An error in `source` is raised where the items are read. Closing the generator ends the thread, waits for
    it, and closes `source`; the thread starts with the first item asked for.
    """
    ready: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
    slots = threading.Semaphore(depth)
    stop = threading.Event()
    worker = threading.Thread(target=_fill, args=(source, ready, slots, stop), daemon=True)
    worker.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is _END:
                return
            slots.release()
            yield item
    finally:
        stop.set()
        slots.release()
        worker.join()


def _fill(source: Iterator[Any], ready: queue.SimpleQueue, slots: threading.Semaphore, stop: threading.Event) -> None:
    stay_on_one_core()
    try:
        while slots.acquire() and not stop.is_set():
            item = next(source, _END)
            ready.put((item, None))
            if item is _END:
                break
    except BaseException as error:  # handed over: it is raised in the reading thread
        ready.put((_END, error))
    finally:
        close = getattr(source, "close", None)
        if close is not None:
            close()  # here, because a generator may only be closed by the thread that runs it
