"""Several nodes of Ray on this machine, as if they were as many machines."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")


def add_node(cluster: Any) -> Any:
    """Add a node of one CPU. Of itself an agent looks for its ports, for longer than a busy machine is given."""
    with ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in PORTS]
        for one in found:
            one.bind(("127.0.0.1", 0))
        free = [one.getsockname()[1] for one in found]
    return cluster.add_node(
        num_cpus=1,
        include_dashboard=False,
        object_store_memory=80 << 20,
        **dict(zip(PORTS, free, strict=True)),
    )


@contextmanager
def nodes(count: int) -> Iterator[Any]:
    """A cluster of so many nodes."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        for _ in range(count):
            add_node(cluster)
        yield cluster
    finally:
        cluster.shutdown()
