"""A process that says what it is told to: for tests of how processes are listened to."""

from __future__ import annotations

import json
import os
import sys
import time

from studio.contribution_worker import limit, say


def main() -> None:
    asked = json.loads(sys.stdin.read())
    if asked.get("spin"):
        limit([], 1)
        while True:
            pass
    sys.stdout.write("noise that is no object\n")
    for number in range(asked["say"]):
        say({"number": number})
        time.sleep(asked.get("pause", 0))
    time.sleep(asked.get("sleep", 0))
    if asked.get("die"):
        os._exit(3)


if __name__ == "__main__":
    main()
