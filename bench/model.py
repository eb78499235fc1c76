"""Computes, from the costs of one job, what millions of jobs a day need (docs/scaling.md).

The default costs were measured by `bench.scale_out` and `bench.reads`. Options replace them.
"""

import argparse
import math

from bench.record import add_save_option, publish_count

DAYS = (10_000_000, 100_000_000, 1_000_000_000)  # jobs a day
DAY = 86_400  # seconds
EVENTS = 3  # events of a job whose first attempt completes


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.model", description=__doc__)
    parser.add_argument("--api", type=float, default=134, help="CPU µs of the API to queue a job over HTTP")
    parser.add_argument("--worker", type=float, default=87, help="CPU µs of the worker to run a job that does nothing")
    parser.add_argument("--postgres", type=float, default=108, help="CPU µs of PostgreSQL for both")
    parser.add_argument("--redis", type=float, default=19, help="CPU µs of Redis for both")
    parser.add_argument("--hear", type=float, default=1.5, help="CPU µs of each process to receive a change from the bus")
    parser.add_argument("--bytes", type=float, default=2400, help="bytes of disk for a job, with its indexes")
    parser.add_argument("--wal", type=float, default=4700, help="bytes of WAL for a job")
    parser.add_argument("--peak", type=float, default=5, help="the peak, as a multiple of the mean")
    parser.add_argument("--full", type=float, default=0.6, help="the share of a core that may be used at the peak")
    add_save_option(parser)
    options = parser.parse_args()
    publish_count("model", table(options), save=options.save)


def table(cost: argparse.Namespace) -> str:
    rows: list[tuple[str, list[str]]] = [("jobs a second, mean", [f"{jobs / DAY:,.0f}" for jobs in DAYS])]
    peaks = [jobs / DAY * cost.peak for jobs in DAYS]
    rows.append((f"jobs a second, peak ({cost.peak:g} × the mean)", [f"{peak:,.0f}" for peak in peaks]))
    rows.append((f"events a second, peak (× {EVENTS})", [f"{peak * EVENTS:,.0f}" for peak in peaks]))
    for name, micros in (("API", cost.api), ("worker", cost.worker), ("PostgreSQL", cost.postgres), ("Redis", cost.redis)):
        cores = [peak * micros / 1e6 / cost.full for peak in peaks]
        unit = "processes" if name in ("API", "worker") else "cores"
        shown = [f"{math.ceil(each)}" if unit == "processes" else f"{each:.1f}" for each in cores]
        rows.append((f"{name} {unit}, peak", shown))
    rows.append(("of each process, to hear the bus, peak", [f"{peak * EVENTS * cost.hear / 1e6:.0%}" for peak in peaks]))
    rows.append(("MB/s of PostgreSQL's log, peak", [f"{peak * cost.wal / 1e6:,.0f}" for peak in peaks]))
    rows.append(("GB of disk a day", [f"{jobs * cost.bytes / 1e9:,.0f}" for jobs in DAYS]))
    rows.append(("TB of disk for 30 days", [f"{jobs * cost.bytes * 30 / 1e12:,.1f}" for jobs in DAYS]))
    head = ["", *(f"{jobs / 1e6:,.0f} million jobs a day" for jobs in DAYS)]
    lines = [f"| {' | '.join(head)} |", "| --- |" + " --- |" * len(DAYS)]
    return "\n".join([*lines, *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows)])


if __name__ == "__main__":
    main()
