"""This process's connection to a Ray cluster. Ray allows one for each process.

Nothing is reported to anybody, no dashboard is started, and what Ray has to say goes into our log
at debug level: standard output belongs to the command line's JSON.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import protocols
from protocols.core.errors import EngineError, UserError

log = logging.getLogger(__name__)
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_LOG_TO_DRIVER": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
IN_ACTORS = ("HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK", "VLLM_NO_USAGE_STATS", "HF_HUB_OFFLINE")
"""Variables that actors get as they are here."""


@dataclass(frozen=True)
class Facts:
    """What a cluster has."""

    nodes: int
    cpus: float
    gpus: float

    def sentence(self) -> str:
        """For people."""
        counts = {"node": self.nodes, "CPU": self.cpus, "GPU": self.gpus}
        return ", ".join(f"{n:g} {what}{'' if n == 1 else 's'}" for what, n in counts.items())


def has_ray() -> bool:
    """Whether Ray is installed."""
    return find_spec("ray") is not None


class Connection:
    """Connects when the first one asks and lets go when the last one has."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._address = ""
        self._ours = False

    def open(self, address: str) -> None:
        """Connect to a cluster, or start one on this machine if ``address`` is empty.

        Blocks for seconds. Raises :class:`EngineError` if Ray is missing or nobody answers, and
        :class:`UserError` for an address that cannot be used.
        """
        with self._lock:
            if self._users and address != self._address:
                raise UserError(
                    f"This process is connected to the Ray cluster {self._address or 'of its own'}"
                    " already; it can use one at a time. Set STUDIO_RAY_ADDRESS to that."
                )
            if not self._users:
                self._ours = _start(address)
                self._address = address
            self._users += 1

    def close(self) -> None:
        """Let go; a cluster that was started here ends with its processes."""
        with self._lock:
            self._users = max(0, self._users - 1)
            if not self._users and self._ours:
                import ray

                ray.shutdown()

    def drop(self) -> None:
        """Leave a cluster whose head is gone, before Ray ends this whole process for that (it does
        so 60 s after the head's last word). The next one who opens connects anew."""
        with self._lock:
            if self._users:
                import ray

                self._users = 0
                ray.shutdown()


CONNECTION = Connection()


def _start(address: str) -> bool:
    """Connect this process. Returns False if somebody else has done it before."""
    if not has_ray():
        raise EngineError("Ray is not installed: pip install -r requirements-cluster.txt")
    if address.startswith("ray://"):
        raise UserError(
            f"'{address}' is a Ray client address, which cannot stream. Join the cluster with "
            "ray start --address=HOST:6379 --num-cpus=0 here and set STUDIO_RAY_ADDRESS=HOST:6379."
        )
    if address:
        _check_reachable(address)
    else:
        # Ray listens on every network interface: nobody else may use a cluster of our own.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        return False
    _hush()
    try:
        ray.init(
            address=address or "local",
            include_dashboard=None if address else False,
            log_to_driver=False,
            configure_logging=False,
            runtime_env=_environment(),
        )
    except Exception as error:
        log.exception("no connection to Ray at %r", address)
        ray.shutdown()
        where = f"The Ray cluster at {address}" if address else "A Ray cluster on this machine"
        raise EngineError(
            f"{where} cannot be reached or started ({type(error).__name__}). Is this machine a "
            "node of it (ray status)? The log has the details."
        ) from error
    return True


def _check_reachable(address: str) -> None:
    """Raise unless somebody listens: Ray itself would go on trying for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise UserError(f"'{address}' is no address of a Ray cluster. Set it as HOST:PORT.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise EngineError(
            f"Nobody answers at {address}, the address of the Ray cluster. Is it running?"
        ) from error


def head() -> tuple[str, int]:
    """Where the head of the connected cluster listens."""
    import ray

    host, _, port = str(ray.get_runtime_context().gcs_address).rpartition(":")
    return host.strip("[]"), int(port)


def answers(address: tuple[str, int], seconds: float = 5.0) -> bool:
    """Whether somebody takes a connection there. Blocks for so long at most."""
    try:
        socket.create_connection(address, timeout=seconds).close()
    except OSError:
        return False
    return True


def _environment() -> dict[str, Any]:
    """What actors on other machines need: this package's code, and the same silence."""
    return {
        "py_modules": [str(Path(protocols.__file__).parent)],
        "excludes": ["__pycache__", "*.pyc"],
        "env_vars": {name: os.environ[name] for name in IN_ACTORS if name in os.environ},
    }


def _hush() -> None:
    """Keep Ray's own words out of standard output and of our log's louder levels."""
    import ray

    logging.getLogger("ray").setLevel(logging.CRITICAL)
    # A thread of Ray's prints what its daemons complain about, whatever it is told to log.
    ray._private.worker.print_to_stdstream = _into_our_log


def _into_our_log(data: Mapping[str, Any], **_: object) -> None:
    for line in data.get("lines", ()):
        log.debug("%s: %.500s", data.get("pid", "ray"), line)


def facts_of(address: str) -> Facts:
    """What the cluster at an address has. Raises as :meth:`Connection.open` does."""
    CONNECTION.open(address)
    try:
        return facts()
    finally:
        CONNECTION.close()


def facts() -> Facts:
    """What the connected cluster has."""
    import ray

    alive = [node for node in ray.nodes() if node["Alive"]]
    total = ray.cluster_resources()
    return Facts(len(alive), total.get("CPU", 0.0), total.get("GPU", 0.0))


def free() -> dict[str, float]:
    """Resources of the connected cluster that no actor holds."""
    import ray

    found: dict[str, float] = ray.available_resources()
    return found
