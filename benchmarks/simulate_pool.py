"""Simulate a pool that many workers write into one folder, from costs that are measured on this machine.

Each worker takes a member, reads what was added to the index of the folder since its last one, trains, reads what was
added meanwhile, and puts the member into the folder, as workers of ``Kept`` do. A put writes and syncs the data, and
then holds the one lock of the folder while it reads what was added while it waited, and adds a line to the journal; a
journal that has grown as long as the index is merged into it. Who waits for the lock asks for it every 50 ms. All share
the bandwidth of the file system. It is a simulation of discrete events: 10,000 members on 1,000 workers take seconds.

    python benchmarks/simulate_pool.py                         # measures, and prints the table of the guide
    python benchmarks/simulate_pool.py --members 10000 --workers 1000 --train 60 --megabytes 1 --folders 1

``--bandwidth`` and ``--client`` are those of the file system and of one machine, in megabytes a second; ``--sync`` adds
seconds to each put, as a network file system does. ``--folders`` shares the workers out over several folders, which
``merge_folders`` makes one afterwards.
"""

import argparse
import heapq
import math
import tempfile
import time
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
import torch

from skfusion.pool import DirectoryStore, Member

POLL = 0.05
"""Seconds from one try to get the lock to the next, those of filelock."""


@dataclass(frozen=True)
class Costs:
    """What a put takes, in seconds and bytes."""

    put: float  # of a member of no bytes, among few others; all of it is taken to be while the lock is held
    put_byte: float  # more for each byte of the member: serialised, hashed, written, synced, before the lock
    read_entry: float  # for each member that others have added: its line is read and checked
    rewrite_entry: float  # for each member in the index, where it is written anew
    entry_bytes: float  # of a line of the index, which holds what is known of the member, such as its history


@dataclass(frozen=True)
class Setting:
    """A pool, who trains it, and what it is written to."""

    members: int = 10_000
    workers: int = 1000
    train: float = 60.0  # mean seconds of a member, of a log-normal distribution
    spread: float = 0.3  # their standard deviation over their mean
    bytes: float = 1e6  # of a member
    folders: int = 1
    bandwidth: float = 2e9  # bytes a second of the file system
    client: float = 5e8  # and of one machine
    sync: float = 0.0  # seconds that a put waits for the disk beyond what was measured


@dataclass(frozen=True)
class Outcome:
    """What came of a simulation, in seconds, shares and bytes."""

    makespan: float
    ideal: float  # were puts free
    busy: float  # share of the workers' time that they train
    locked: float  # share of the time that the busiest lock is held
    mean_wait: float
    p95_wait: float
    max_wait: float
    written: float
    read: float


class Folder:
    """The state of one folder: who holds its lock, who waits for it, and how long its index and journal are."""

    def __init__(self):
        self.n = self.index = self.journal = 0
        self.waiting = []
        self.held = False
        self.held_seconds = 0.0


def simulate(setting, costs, seed=0):
    """Return the outcome of a setting."""
    rng = np.random.RandomState(seed)
    sigma = math.sqrt(math.log1p(setting.spread**2))
    seconds = rng.lognormal(math.log(setting.train) - sigma**2 / 2, sigma, size=setting.members)
    folders = [Folder() for _ in range(setting.folders)]
    events, waits, order = [], [], 0
    todo, trained, now, moving = setting.members, 0.0, 0.0, 0  # who reads the index or writes data
    written = read = 0.0
    known = np.zeros(setting.workers, int)  # members of its folder whose lines a worker has read

    def push(at, kind, worker):
        nonlocal order
        order += 1
        heapq.heappush(events, (at, order, kind, worker))

    def transfer(n_bytes):
        return n_bytes / min(setting.client, setting.bandwidth / max(1, moving))

    def begin(worker):
        """Take a member and read what is new in the index, as tasks of one process know what those before have read."""
        nonlocal todo, moving, read
        if not todo:
            return
        todo -= 1
        moving += 1
        folder = folders[worker % setting.folders]
        new, known[worker] = folder.n - known[worker], folder.n
        read += new * costs.entry_bytes
        push(now + new * costs.read_entry + transfer(new * costs.entry_bytes), "read", worker)

    def lock(folder):
        """Let the next one who waits have the lock: whoever asks first, all of them asking every 50 ms."""
        at, worker = folder.waiting.pop(0)
        start = max(now, at)
        if start > at:  # it has asked in vain, and asks again at a time that does not depend on the others
            start += rng.uniform(0, POLL) if not folder.waiting else rng.exponential(POLL / (len(folder.waiting) + 1))
        waits.append(start - at)
        folder.held = True
        new = folder.n - known[worker]
        hold = costs.put + setting.sync + new * costs.read_entry + transfer(new * costs.entry_bytes)
        if folder.journal >= folder.index:
            hold += folder.n * costs.rewrite_entry + transfer(folder.n * costs.entry_bytes)
            folder.index, folder.journal = folder.n + 1, 0
            moved = folder.n * costs.entry_bytes
        else:
            folder.journal += 1
            moved = 0.0
        folder.held_seconds += start - now + hold
        push(start + hold, "put", worker)
        return setting.bytes + moved + costs.entry_bytes, new * costs.entry_bytes

    for worker in range(min(setting.workers, setting.members)):
        begin(worker)
    n_trained = 0
    while events:
        now, _, kind, worker = heapq.heappop(events)
        folder = folders[worker % setting.folders]
        if kind == "read":
            moving -= 1
            trained += seconds[n_trained]
            push(now + seconds[n_trained], "train", worker)
            n_trained += 1
            continue
        if kind == "train":
            new, known[worker] = folder.n - known[worker], folder.n
            read += new * costs.entry_bytes
            moving += 1
            writing = setting.bytes * costs.put_byte + transfer(setting.bytes)
            push(now + new * costs.read_entry + transfer(new * costs.entry_bytes) + writing, "ask", worker)
            continue
        if kind == "ask":
            moving -= 1
            folder.waiting.append((now, worker))
        else:
            folder.held = False
            folder.n += 1
            begin(worker)
        if folder.waiting and not folder.held:
            more_written, more_read = lock(folder)
            written, read = written + more_written, read + more_read
    return Outcome(
        makespan=now,
        ideal=in_turn(seconds, setting.workers),
        busy=trained / (now * setting.workers),
        locked=max(folder.held_seconds for folder in folders) / now,
        mean_wait=float(np.mean(waits)),
        p95_wait=float(np.quantile(waits, 0.95)),
        max_wait=float(np.max(waits)),
        written=written,
        read=read,
    )


def in_turn(seconds, n_workers):
    """Return when the last of some tasks ends, each of which goes to the first worker that is free."""
    free = [0.0] * n_workers
    for task in seconds:
        heapq.heapreplace(free, free[0] + task)
    return max(free)


def member(i, n_numbers, epochs):
    """Return a member as a training leaves it, with the history of its epochs."""
    losses = [{"train_loss": 1 / (e + i + 1), "valid_loss": 1 / (e + 2)} for e in range(epochs)]
    history = [{"epoch": e, "dur": 0.1, **of_epoch} for e, of_epoch in enumerate(losses)]
    state = {"w": torch.full((n_numbers,), float(i)) + torch.arange(float(n_numbers))}
    return Member(f"seed-{i}@0123456789abcdef{i:04x}", state, meta={"seed": i, "epoch": epochs, "history": history})


def measure(n=300, epochs=20):
    """Return the costs on this machine and its temporary directory, from puts and reads of a real folder."""
    with tempfile.TemporaryDirectory() as root:
        store = DirectoryStore(f"{root}/small")
        times = [seconds_of(store.put, member(i, 64, epochs)) for i in range(n)]
        size = sum(p.stat().st_size for p in store.path.glob("*.json*")) / n
        small = median(times)
        rewrites = [(t - small, i) for i, t in enumerate(times) if t > 2 * small and i > n // 10]
        reads = [seconds_of(DirectoryStore(store.path).names) for _ in range(5)]
        large = DirectoryStore(f"{root}/large")
        n_bytes = 4 * 2**20
        put_large = median(seconds_of(large.put, member(i, n_bytes // 4, epochs)) for i in range(6))
    rewrite = sum(t for t, _ in rewrites) / max(1, sum(i for _, i in rewrites))
    return Costs(small, max(0.0, put_large - small) / n_bytes, median(reads) / n, rewrite, size)


def seconds_of(call, *args):
    start = time.perf_counter()
    call(*args)
    return time.perf_counter() - start


def row(setting, costs):
    """Return a line of the table."""
    found = simulate(setting, costs)
    cells = [f"{setting.members:,}", f"{setting.workers:,}", setting.folders, f"{setting.train:g}"]
    cells += [f"{setting.bytes / 1e6:g}", f"{found.makespan / found.ideal:.2f}x", f"{found.busy:.0%}"]
    cells += [f"{found.locked:.0%}", f"{found.mean_wait:.2f}", f"{found.p95_wait:.2f}"]
    cells += [f"{found.written / 1e9:.3g}", f"{found.read / 1e9:.3g}"]
    return f"| {' | '.join(map(str, cells))} |"


COLUMNS = (
    "members",
    "workers",
    "folders",
    "train, s",
    "MB",
    "time to ideal",
    "busy",
    "lock held",
    "mean wait, s",
    "95 %",
    "GB written",
    "GB read",
)
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


def limit(setting, costs, share=0.1):
    """Return from how many workers on the puts cost a share of the time or more, by bisection."""
    low, high = 1, setting.members
    while high - low > max(1, low // 20):
        middle = (low + high) // 2
        found = simulate(replace(setting, workers=middle), costs)
        low, high = (low, middle) if found.makespan > (1 + share) * found.ideal else (middle, high)
    return high


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    for name, kind in (("members", int), ("workers", int), ("train", float), ("megabytes", float), ("folders", int)):
        parser.add_argument(f"--{name}", type=kind)
    parser.add_argument("--bandwidth", type=float, default=2000.0)
    parser.add_argument("--client", type=float, default=500.0)
    parser.add_argument("--sync", type=float, default=0.0)
    parser.add_argument("--epochs", type=int, default=20, help="lines of history that a member has")
    args = parser.parse_args()
    costs = measure(epochs=args.epochs)
    print(
        f"A put takes {1e3 * costs.put:.1f} ms and {1e3 * costs.put_byte * 1e6:.1f} ms a megabyte; of each member, "
        f"{1e6 * costs.read_entry:.0f} us to read what is known of it, {1e6 * costs.rewrite_entry:.0f} us to write it "
        f"anew, and {costs.entry_bytes:.0f} bytes.\n"
    )
    world = Setting(bandwidth=args.bandwidth * 1e6, client=args.client * 1e6, sync=args.sync)
    given = {"members": args.members, "workers": args.workers, "train": args.train, "folders": args.folders}
    given = {name: value for name, value in given.items() if value is not None}
    if args.megabytes is not None:
        given["bytes"] = args.megabytes * 1e6
    print(HEAD)
    if given:
        print(row(replace(world, **given), costs))
        return
    for train, size in ((60, 0.1), (60, 1), (600, 1), (600, 100), (3600, 100)):
        print(row(replace(world, train=train, bytes=size * 1e6), costs))
    for folders in (10, 100):
        print(row(replace(world, train=60, bytes=1e6, folders=folders), costs))
    print()
    for train, size in ((60, 1), (600, 1), (600, 100)):
        setting = replace(world, train=train, bytes=size * 1e6)
        n = limit(setting, costs)
        said = "at no number of workers" if n == setting.members else f"from {n:,} workers on"
        print(f"Trainings of {train} s of {size} MB: one folder costs a tenth of the time {said}.")


if __name__ == "__main__":
    main()
