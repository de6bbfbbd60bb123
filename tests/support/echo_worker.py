"""A worker for child processes: it echoes, fails, sleeps or dies as it is told."""

import os
import time


def make_worker():
    def work(message):
        if message == "die":
            os._exit(3)
        if message == "sleep":
            time.sleep(60)
        if message == "fail":
            raise ValueError("as asked")
        return message

    return work
