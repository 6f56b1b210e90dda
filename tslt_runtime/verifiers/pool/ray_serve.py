"""Replicas in Ray Serve: the application that runs them, and a gateway's way to them.

Ray Serve 2.60 (the extra ``ray``).  Its consistent-hash router keeps a text at one replica, and moves as few as it can
when replicas come and go.  Everything here trusts the cluster, as Ray does: its network is nobody else's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody was asked
if "ray" not in sys.modules and (Path.home() / ".ray" / "auth_token").is_file():
    os.environ.setdefault(
        "RAY_AUTH_MODE", "token"
    )  # Ray looks for it where it starts a cluster, not where it joins one
os.environ.setdefault("RAY_agent_register_timeout_ms", "100000")  # a machine that does much else starts slowly

import grpc
import ray
from ray import serve
from ray.serve.config import AutoscalingConfig, RequestRouterConfig
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import LoggingConfig

from tslt_runtime.verifiers.pool.protocol import Call, Offer, ReplicaLost, Told
from tslt_runtime.verifiers.pool.replica import Replica
from tslt_runtime.verifiers.pool.scale import APPLICATION, Scale

ROUTER = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"
ONGOING = 256
"""Calls at a replica at once: those of a pass and those that wait for the next one.  More wait in gateways, or go to
the next replica of the ring."""
FEW_DEAD_S = 1.0
"""Seconds between looks at a replica's health."""
OBJECT_STORE_BYTES = 200 << 20
"""Of a cluster that is started for one gateway: nothing large is shared."""
REACH_S = 5.0
"""Seconds that a cluster's head has to take a connection."""
NEW = "local"
"""An address: that of a cluster that is started."""


class ServeReplica:
    """``Replica`` in an actor of Ray Serve."""

    def __init__(self, load: Callable[[], Replica], version: str) -> None:
        self._replica = load()

    async def offer(self) -> Offer:
        """See ``Pool.offer``."""
        return self._replica.offer()

    async def read(self, call: Call) -> Told:
        """See ``Replica.read``."""
        return await self._replica.read(call)

    async def answer(self, call: Call) -> Told:
        """See ``Replica.answer``."""
        return await self._replica.answer(call)

    async def release(self, call: Call) -> None:
        """See ``Replica.release``."""
        self._replica.release(call)

    async def turn(self) -> int:
        """Return the process's number once the model's thread answers."""
        await self._replica.turn()
        return os.getpid()


def application(load: Callable[[], Replica], scale: Scale | None = None, *, version: str = "") -> Any:
    """The Serve application whose replicas are what ``load`` returns in their processes, for ``serve.run``.

    ``load``: a function that their Python can import.  Deployed again under the same name with another ``version`` or
    ``load``, replicas are replaced one after the other, while texts go on.
    """
    scale = scale or Scale()
    options: dict[str, Any] = {
        "name": "replica",
        "max_ongoing_requests": ONGOING,
        "request_router_config": RequestRouterConfig(request_router_class=ROUTER),
        "ray_actor_options": {"num_cpus": scale.cpus, "num_gpus": scale.gpus},
        "health_check_period_s": FEW_DEAD_S,
        "logging_config": LoggingConfig(enable_access_log=False),
    }
    if scale.most is None:
        options["num_replicas"] = scale.replicas
    else:
        options["autoscaling_config"] = AutoscalingConfig(
            min_replicas=scale.replicas, max_replicas=scale.most, target_ongoing_requests=scale.target_ongoing
        )
    return serve.deployment(**options)(ServeReplica).bind(load, version)


def join(address: str | None = None, *, cpus: int | None = None, may_start: bool = True) -> None:
    """Join the cluster at ``address``; None: the one that this machine is in, or if it is in none ``NEW``: a new one,
    which ends with this process.

    ``cpus``: of a new one; ``may_start``: whether one may be made where none is named.  Raises ConnectionError if there
    is none to join, RuntimeError if Ray does not start.
    """
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "WARNING"}
    if ray.is_initialized():
        return
    if address not in (None, NEW):
        _reach(address)
    try:
        if address != NEW:
            ray.init(address=address or "auto", **quiet)
            return
    except ConnectionError:
        if address is not None:
            raise
        if not may_start:
            raise ConnectionError(
                "this machine is in no Ray cluster: ray start --address HEAD:6379, or --ray-address"
            ) from None
    try:
        ray.init(address=NEW, num_cpus=cpus, include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES, **quiet)
    except Exception as error:
        raise RuntimeError(
            f"Ray did not start here: {error}; what it wrote is in /tmp/ray/session_latest/logs"
        ) from error


def _reach(address: str) -> None:
    """ConnectionError where nobody listens at ``address``: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH_S).close()
    except OSError as error:
        raise ConnectionError(f"no Ray head answers at {address}: {error.strerror or error}") from None


def address() -> str:
    """Of the cluster that was joined, for others on this network to join."""
    return str(ray.get_runtime_context().gcs_address)


def leave() -> None:
    """Leave the cluster; one that was started for this process ends."""
    ray.shutdown()


def deploy(app: Any, name: str = APPLICATION) -> None:
    """Run the application, or put this one in the place of the one that runs; returns once it serves.

    RuntimeError if its replicas do not start.
    """
    serve.start(proxy_location="Disabled")  # nobody speaks HTTP
    serve.run(app, name=name, route_prefix=None)


class RayPool:
    """The replicas of an application (see ``Pool``)."""

    def __init__(self, name: str = APPLICATION) -> None:
        """Raises ReplicaLost for an application that does not run."""
        try:
            handle: DeploymentHandle[Any] = serve.get_app_handle(name)
        except RayServeException as error:
            known = ", ".join(serve.status().applications) or "none"
            raise ReplicaLost(f"there is no application {name!r} in this cluster, but {known}") from error
        # Straight to the replica, and not by way of Ray's object store: a third of the gateway's time, and less delay.
        self._handle = handle.options(_by_reference=False)
        self._tasks: set[asyncio.Task[None]] = set()

    async def offer(self) -> Offer:
        """See ``Pool.offer``."""
        offer: Offer = await _lost(self._handle.offer.remote())
        return offer

    async def call(self, method: str, call: Call) -> Told:
        """See ``Pool.call``."""
        handle = self._handle.options(method_name=method, session_id=call.text)
        told: Told = await _lost(handle.remote(call))
        return told

    def release(self, call: Call) -> None:
        """See ``Pool.release``."""
        with contextlib.suppress(RuntimeError):  # the event loop ends
            task = asyncio.get_running_loop().create_task(self._release(call))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def turn(self) -> None:
        """See ``Pool.turn``."""
        await _lost(self._handle.turn.remote())

    def close(self) -> None:
        """See ``Pool.close``."""
        for task in self._tasks:
            task.cancel()

    async def _release(self, call: Call) -> None:
        with contextlib.suppress(ReplicaLost):  # with all that it had
            await _lost(self._handle.options(method_name="release", session_id=call.text).remote(call))


async def _lost(response: Awaitable[Any]) -> Any:
    """What a replica returns or raises; ReplicaLost where it is not the replica that speaks."""
    try:
        return await response
    except ray.exceptions.RayTaskError:
        raise  # its own
    except (ray.exceptions.RayError, RayServeException, grpc.RpcError, RuntimeError, OSError) as error:
        raise ReplicaLost(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}") from error
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise ReplicaLost("the call was dropped by a replica that ends") from None
