"""Work that is done while its results of before are used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Job = TypeVar("Job")
Made = TypeVar("Made")


def ahead(make: Callable[[Job], Made], jobs: Iterable[Job], depth: int) -> Generator[Made]:
    """Yield what ``make`` makes of every job, in their order, while a thread is at most ``depth`` jobs ahead.

    An error in the thread is raised where its result is asked for. The thread has ended when the iterator has: at its
    end, at an error, and where it is closed or forgotten before its end.
    """
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="scfm-ahead") as thread:
        try:
            for job in jobs:
                waiting.append(thread.submit(make, job))
                if len(waiting) > depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
