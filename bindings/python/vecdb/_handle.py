"""What handles share: turning failures into exceptions, and closing safely while other threads are at work."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Callable, List, Optional, Tuple, Type, TypeVar, Union

from . import _library as c
from ._errors import MisuseError, VecdbError, make_error

#: progress(stage, done, total), returning False to stop the call; or a tqdm bar.
ProgressLike = Union[Callable[[str, int, int], Optional[bool]], Any]


def failure(status: int, *, row: Optional[int] = None, rows_written: int = 0) -> VecdbError:
    """The exception for the calling thread's last failed call."""
    message = (c.lib.vecdb_last_error() or b"").decode("utf-8", "replace")
    return make_error(status, message, row=row, rows_written=rows_written)


def check(status: int) -> int:
    """Raise when a call failed."""
    if status < 0:
        raise failure(status)
    return status


class Unique:
    """What has a handle: a copy of it would close the same handle once more."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(
            f"a vecdb.{type(self).__name__.lstrip('_')} can be neither copied nor sent to another process: "
            "open the database there, with read_only=True while it is open here"
        )


class Gate:
    """Counts the calls that are using a handle, so that close() frees it after the last of them.

    `with gate as handle:` gives the handle, or raises MisuseError once it is closed.
    """

    __slots__ = ("_what", "_condition", "_users", "handle")

    def __init__(self, what: str, handle: Any) -> None:
        self._what = what
        self._condition = threading.Condition(threading.Lock())
        self._users = 0
        self.handle: Any = handle

    def __enter__(self) -> Any:
        with self._condition:
            if self.handle is None:
                raise MisuseError(f"{self._what} is closed")
            self._users += 1
            return self.handle

    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        with self._condition:
            self._users -= 1
            if not self._users:
                self._condition.notify_all()

    def shut(self) -> Any:
        """No new calls; wait for those that run; the handle to close, or None when somebody else closed it."""
        with self._condition:
            handle, self.handle = self.handle, None
            while self._users:
                self._condition.wait()
            return handle

    def reopen(self, handle: Any) -> None:
        """Closing failed: go on as before."""
        with self._condition:
            self.handle = handle


class Progress:
    """A user's progress callback as C calls it. Without one it still lets Ctrl-C stop a long call.

    To be used as a context around that call. ctypes loses what a signal's handler raises on the way into a callback, and the
    call would go on: so Ctrl-C is only noted meanwhile, and its handler called where what it raises is kept.
    """

    def __init__(self, user: Optional[ProgressLike]) -> None:
        self._user = user
        self._error: Optional[BaseException] = None
        self._bar_stage = ""
        self._bar = user is not None and hasattr(user, "update") and hasattr(user, "total")
        self._handler: Any = None
        self._noted: List[Tuple[int, Optional[FrameType]]] = []
        self._inside = False  # the user's function, which may be interrupted as any other
        self.callback = c.Progress(self._called)

    def __enter__(self) -> Progress:
        if threading.current_thread() is threading.main_thread():
            handler = signal.getsignal(signal.SIGINT)
            if callable(handler):
                try:
                    signal.signal(signal.SIGINT, self._note)
                    self._handler = handler
                except ValueError:  # not the main interpreter
                    pass
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
            self._deliver()

    def _note(self, number: int, frame: Optional[FrameType]) -> None:
        if self._inside:
            self._handler(number, frame)
        else:
            self._noted.append((number, frame))

    def _deliver(self) -> None:
        while self._noted:
            self._handler(*self._noted.pop())

    def _called(self, _context: Any, stage: Optional[bytes], done: int, total: int) -> bool:
        try:
            self._deliver()
            if self._user is None:
                return True
            name = (stage or b"").decode("utf-8", "replace")
            self._inside = True
            try:
                return self._show(name, done, total) if self._bar else self._user(name, done, total) is not False
            finally:
                self._inside = False
        except BaseException as problem:  # raised again where the call was made
            self._inside = False
            self._error = problem
            return False

    def _show(self, stage: str, done: int, total: int) -> bool:
        bar: Any = self._user
        if stage != self._bar_stage:
            self._bar_stage = stage
            if hasattr(bar, "set_description"):
                bar.set_description(stage)
            bar.reset(total=total or None) if hasattr(bar, "reset") else None
        elif total and bar.total != total:
            bar.total = total
        bar.update(done - bar.n if hasattr(bar, "n") else done)
        return True

    def check(self, status: int) -> int:
        """Raise what the callback raised, else what the call failed with."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return check(status)


Outcome = TypeVar("Outcome")


def stoppable(call: Callable[[], Outcome], stop: Callable[[], None]) -> Outcome:
    """call(), which takes long and calls nothing back, but so that Ctrl-C ends it.

    Only the main thread runs handlers of signals, and not while it is in the library: so another thread makes the call. What
    a handler raises calls stop(), upon which the call is to end soon, and is raised when it has. A second Ctrl-C at a bad
    moment may be raised before that: so call() must hold on to all that the library uses.
    """
    if threading.current_thread() is not threading.main_thread():
        return call()
    outcomes: List[Outcome] = []
    failures: List[BaseException] = []
    ended = threading.Lock()  # and not Thread.join(), which when interrupted may take a thread for ended that is not
    ended.acquire()

    def run() -> None:
        try:
            outcomes.append(call())
        except BaseException as problem:  # raised again below
            failures.append(problem)
        finally:
            ended.release()

    try:
        threading.Thread(target=run, name="vecdb").start()
    except RuntimeError:  # the system has no more threads, or the interpreter is ending
        return call()
    except BaseException:  # Ctrl-C; whether the thread has begun is not known
        stop()
        raise
    interrupt: Optional[BaseException] = None
    while not (outcomes or failures):
        try:
            ended.acquire()
        except BaseException as problem:  # the library still writes where it was told to: wait for it all the same
            interrupt = interrupt or problem
            stop()
    if interrupt is not None:
        raise interrupt
    if failures:
        raise failures[0]
    return outcomes[0]
