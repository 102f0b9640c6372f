"""Open the store that the settings name: the embedded one, or what REDIS_URL says (`address`).

A production store must run with `appendonly yes` and `appendfsync always`, or an acknowledged
decision may be lost with its machine. Behind Sentinel or in a cluster, replication is asynchronous:
set `min-replicas-to-write` as well, and rely on the ledger's checkpoints, which show such a loss.
"""

from __future__ import annotations

from typing import Final

from cluster.breaker.guard import guard as process_guard
from cluster.settings import Settings
from cluster.store.address import Address, Host, Kind, parse_address
from cluster.store.bell import Bell
from cluster.store.dial import dial_any, dial_host, dial_primary, dial_socket, patiently
from cluster.store.folder import Folder
from cluster.store.lanes import Dial, Lanes
from cluster.store.redis_store import Guard, RedisStore, Wire
from cluster.store.shards import Shards

# Calls are batched by their callers, so a few connections carry everything; more only cost memory.
_LANES: Final = 8
# How long one silent Sentinel or node may hold up the next, as a part of the deadline.
_PATIENCE: Final = 0.25


def open_store(settings: Settings, *, guard: Guard = process_guard) -> RedisStore:
    """Return a store for the running event loop; it connects when it is first used.

    Raises ConfigurationError when REDIS_URL cannot be read. `guard` is the process's own
    circuits unless a test wants others.
    """
    timeout_s = settings.store_timeout_ms / 1000
    wire = _wire(store_address(settings), patience_s=timeout_s * _PATIENCE)
    return RedisStore(wire, timeout_s=timeout_s, guard=guard)


def open_bell(settings: Settings) -> Bell:
    """Return the bell of this process, on one connection of its own."""
    patience_s = settings.store_timeout_ms / 1000 * _PATIENCE
    return Bell(_dial(store_address(settings), patience_s=patience_s))


def store_address(settings: Settings) -> Address:
    """Return where the store of these settings is."""
    if settings.redis_url is None:
        socket = Folder(settings.data_dir).socket
        return Address(kind=Kind.SOCKET, path=socket, db=settings.redis_db)
    return parse_address(settings.redis_url.get_secret_value(), db=settings.redis_db)


def _wire(address: Address, *, patience_s: float) -> Wire:
    if address.kind is not Kind.CLUSTER:
        return Lanes(patiently(_dial(address, patience_s=patience_s)), size=_LANES)

    def open_lanes(host: Host) -> Lanes:
        # Not patiently: another node may know who took over from a silent one.
        return Lanes(dial_host(address, host), size=_LANES)

    return Shards(address.hosts, open_lanes, patience_s=patience_s)


def _dial(address: Address, *, patience_s: float) -> Dial:
    match address.kind:
        case Kind.SERVER:
            return dial_host(address, address.hosts[0])
        case Kind.SOCKET:
            return dial_socket(address)
        case Kind.SENTINEL:
            return dial_primary(address, patience_s=patience_s)
        case Kind.CLUSTER:
            return dial_any(address, patience_s=patience_s)
