"""Processes that run sagas, to be killed."""

from __future__ import annotations

from multiprocessing.connection import Connection

import duckdb
import pyarrow as pa

from esnb import EventLog
from esnb.testing import Clock
from tests.write.trade import DOMAIN, Fulfilment, carriers

# Threads do not survive a fork: what has some is kept from having them before it.
duckdb.close()
pa.set_cpu_count(1)
pa.set_io_thread_count(1)


def run(path: str, begun: str, now: str, batch: int, pipe: Connection) -> None:
    """Run the sagas of a log as of a time, and say so when that is done."""
    clock = Clock(now)
    carriers.clock, carriers.begun = clock, Clock(begun).now
    with EventLog.open(path, clock=clock, maintain=False) as log:
        pipe.send("ready")
        log.saga(Fulfilment, log.commands(*DOMAIN), batch=batch).run()
        pipe.send("done")
