"""Command-line arguments of an edge that is a gateway: its target runs in replicas of Ray Serve."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from tslt_runtime.commands.inference import FLEET
from tslt_runtime.commands.options import at_least_one
from tslt_runtime.engines.protocol import EngineError
from tslt_runtime.scheduler import Pass
from tslt_runtime.verifiers.pool.protocol import ReplicaLost
from tslt_runtime.verifiers.pool.scale import APPLICATION

if TYPE_CHECKING:
    from tslt_runtime.verifiers.pool.verifier import PoolVerifier

START_S = 120.0
"""Seconds that the first replica has to answer."""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments; see ``check`` and ``load``."""
    group = parser.add_argument_group(
        "fleet",
        "--engine ray: this edge holds links and sessions, and the target runs in replicas of Ray Serve.  With\n"
        "--replicas it starts them, as their first gateway; without it joins those that run.  Gateways that share\n"
        "--secret-file take over each other's sessions",
    )
    group.add_argument("--replicas", type=at_least_one, metavar="N", help="start N replicas of --model")
    most = "start more of them up to N, as calls wait"
    group.add_argument("--most-replicas", type=at_least_one, metavar="N", help=most)
    group.add_argument("--replica-gpus", type=float, default=0.0, metavar="N", help="of each (%(default)g)")
    where = "of the cluster's head (the cluster that this machine is in; with --replicas, if it is in none, a new one)"
    group.add_argument("--ray-address", metavar="HOST:PORT", help=where)
    group.add_argument("--application", default=APPLICATION, metavar="NAME", help="in Ray Serve (%(default)s)")


def check(args: argparse.Namespace, *, default: str | None) -> None:
    """Raise ValueError for arguments that do not belong together; ``default``: of ``--model``, if there is one."""
    named = args.model is not None and args.model is not default
    if args.engine != FLEET:
        if args.replicas or args.most_replicas or args.replica_gpus or args.ray_address:
            raise ValueError("replicas are of a fleet: say --engine ray too")
        return
    if args.url:
        raise ValueError("--url is not for --engine ray: serve run starts replicas over a server (docs/fleet.md)")
    if args.replicas is None and (named or args.most_replicas or args.replica_gpus):
        raise ValueError("without --replicas those that run are joined, with their model: leave --model out, or add it")
    if args.replicas and args.model is None:
        raise ValueError("--replicas needs --model, the target that they run")
    if args.most_replicas and args.most_replicas < args.replicas:
        raise ValueError("--most-replicas is less than --replicas")


async def load(args: argparse.Namespace, *, on_pass: Callable[[Pass], None]) -> PoolVerifier:
    """Join the replicas that the arguments name, or start them; EngineError where that cannot be."""
    from tslt_runtime.verifiers.pool import ray_serve
    from tslt_runtime.verifiers.pool.verifier import connect

    for name in ("ray", "ray.serve"):
        logging.getLogger(name).setLevel(logging.ERROR)  # replicas that end are told by us
    try:
        ray_serve.join(args.ray_address, may_start=args.replicas is not None)
        if args.replicas:
            ray_serve.deploy(_application(args), args.application)
        pool = ray_serve.RayPool(args.application)
        return await connect(pool, start_s=START_S, on_pass=on_pass)
    except (ReplicaLost, ConnectionError, RuntimeError) as error:
        raise EngineError(f"no replicas: {error}") from error


def _application(args: argparse.Namespace) -> object:
    from tslt_runtime.commands.replica import application

    said = {
        "model": args.model,
        "replicas": args.replicas,
        "most_replicas": args.most_replicas or 0,
        "gpus": args.replica_gpus,
        "cpus": args.threads,
        "dtype": args.dtype,
        "threads": args.threads,
        "context": args.context or 0,
        "torch_device": args.torch_device,
        "llama_lib": str(args.llama_lib or ""),
        "self_check": args.self_check,
        "cache_memory": args.cache_memory,
        "max_rows": args.max_rows,
    }
    return application(said)
