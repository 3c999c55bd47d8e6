"""A client of kernels that does not lose a reply."""

from __future__ import annotations

import time
from queue import Empty
from typing import Any

from nbclient import NotebookClient

__all__ = ["Client"]


class Client(NotebookClient):
    """Waits for a reply in short turns.

    nbclient sends to Output widgets while it waits on the same socket, which can swallow the
    sign that the reply is there (jupyter/nbclient, issue 312).
    """

    async def async_start_new_kernel_client(self) -> Any:
        kernel = await super().async_start_new_kernel_client()
        get_msg = kernel.shell_channel.get_msg

        async def in_turns(timeout: float | None = None) -> Any:
            deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
            while True:
                left = deadline - time.monotonic()
                try:
                    return await get_msg(timeout=min(0.5, max(left, 0)))
                except Empty:
                    if left <= 0.5:
                        raise

        kernel.shell_channel.get_msg = in_turns
        return kernel
