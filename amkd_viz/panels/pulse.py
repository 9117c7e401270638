"""Something that beats a few times a second until it is stopped: training threads never wait for a panel."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Pulse"]


class Pulse:
    """Calls ``beat`` every ``seconds`` in a daemon thread; ``beat`` must only ask for work."""

    def __init__(self, beat: Callable[[], None], seconds: float = 0.2) -> None:
        self._stopped = threading.Event()

        def work() -> None:
            while not self._stopped.wait(seconds):
                beat()

        self._thread = threading.Thread(target=work, name="amkd_viz pulse", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """A second time nothing happens."""
        self._stopped.set()
