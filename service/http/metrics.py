"""What the API measures of itself, for Prometheus."""

import functools

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

MOST_COUNTED = 10_000  # jobs of one type that have ended in one way


class Metrics:
    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("rireki_http_requests", "Requests answered", ["method", "route", "status"], registry=registry)
        self.seconds = Histogram(
            "rireki_http_seconds", "Seconds until the answer began", ["method", "route"], registry=registry
        )
        self.jobs = Gauge(
            "rireki_jobs",
            f"Jobs in the view; of those that have ended at most {MOST_COUNTED}",
            ["type", "status"],
            registry=registry,
        )
        self.workers = Gauge("rireki_workers", "Workers by state", ["state"], registry=registry)
        self.stuck = Gauge("rireki_stuck_handlers", "Handlers that swallow their cancellation", ["type"], registry=registry)
        self.paused = Gauge("rireki_paused", "Job types that are paused (1)", ["type"], registry=registry)
        self.watchers = Gauge("rireki_watchers", "Open streams and held answers", registry=registry)
        # Looked up for each request: the library's own way checks and joins the labels each time.
        self.requests_of = functools.cache(self.requests.labels)
        self.seconds_of = functools.cache(self.seconds.labels)
