"""Long work beside the event loop, and its results on the page in the page's own turn."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from typing import Any

import panel as pn
import param


class Background:
    """Joins a model, which any thread may change, and a page, which only its event loop may change.

    What is to be shown again is collected and shown once, in the next turn of the page's event loop; in a notebook it
    is shown at once.  Until `live` is called the page is being made: then everything is done and shown at once, so that
    it is in the page's first picture.

    Args:
        executor: Where long work is done; left out, whoever asks does it.
    """

    def __init__(self, executor: Executor | None = None) -> None:
        self._executor = executor
        document = pn.state.curdoc
        self._document = document if document is not None and document.session_context else None
        self._lock = threading.Lock()
        self._marked: dict[Callable[[], None], None] = {}
        self._living = False
        self._gone = False

    def live(self) -> None:
        """Say that the browser has the page."""
        self._living = True

    def end(self) -> None:
        """Say that the page is gone: nothing is shown any more."""
        self._gone = True

    def start(self, work: Callable[[], None]) -> None:
        """Do long work, which must not touch the page."""
        if self._executor is None or not self._living:
            work()
        else:
            self._executor.submit(work)

    def follow(self, model: param.Parameterized, names: Iterable[str], show: Callable[[], None]) -> None:
        """Call `show` after any of the parameters changed; it reads the model as it then is."""
        model.param.watch(lambda *_: self.mark(show), list(names))

    def mark(self, show: Callable[[], None]) -> None:
        """Have `show` called in the page's next turn, once however often it is marked until then."""
        if self._gone:
            return
        if self._document is None or not self._living:
            show()
            return
        with self._lock:
            first = not self._marked
            self._marked[show] = None
        if first:
            self._document.add_next_tick_callback(self._show_marked)

    def _show_marked(self) -> None:
        with self._lock:
            marked, self._marked = list(self._marked), {}
        for show in marked:
            show()


def follow_widget(widget: Any, name: str, command: Callable[[Any], None]) -> Callable[[Any], None]:
    """Call `command` when a person changes a widget; returns how to set it without calling.

    Args:
        widget: The widget.
        name: Its parameter.
        command: Gets the new value.
    """
    quiet = False

    def changed(event: Any) -> None:
        if not quiet:
            command(event.new)

    def put(value: Any) -> None:
        nonlocal quiet
        if getattr(widget, name) == value:
            return
        quiet = True
        try:
            setattr(widget, name, value)
        finally:
            quiet = False

    widget.param.watch(changed, name)
    return put
