"""Requests to others' servers on several threads, the results as they come."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

Item = TypeVar("Item")
Result = TypeVar("Result")
Failure = TypeVar("Failure", bound=BaseException)


def in_any_order(
    items: Iterable[Item],
    function: Callable[[Item], Result],
    threads: int,
    failures: type[Failure],
) -> Generator[tuple[Item, Result | Failure], None, None]:
    """Each item with what `function` returns of it, or raises of the kind `failures`; any other error is raised here.

    No thread runs further ahead of whoever takes the results than by one item. Left early, what is under way is
    abandoned with the program (the threads are daemons), as if it were killed: a request may take minutes, and nothing
    is ever half written.
    """
    rest, lock, stop = iter(items), threading.Lock(), threading.Event()
    results: SimpleQueue[tuple[Item, Result | BaseException] | None] = SimpleQueue()
    room = threading.Semaphore(2 * threads)

    def work() -> None:
        while room.acquire() and not stop.is_set():
            with lock:
                item = next(rest, results)
            if item is results:
                break
            try:
                results.put((item, function(item)))  # type: ignore[arg-type]
            except BaseException as error:
                results.put((item, error))  # type: ignore[arg-type]
        results.put(None)

    for number in range(threads):
        threading.Thread(target=work, name=f"asking-{number}", daemon=True).start()
    at_work = threads
    try:
        while at_work:
            found = results.get()
            if found is None:
                at_work -= 1
                continue
            item, result = found
            if isinstance(result, BaseException) and not isinstance(result, failures):
                raise result
            yield item, result
            room.release()
    finally:
        stop.set()
        for _ in range(threads):
            room.release()
