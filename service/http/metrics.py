"""The Prometheus metrics of the API."""

import functools

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

MOST_COUNTED = 10_000  # ended jobs of one type and status. More are not counted, because that would slow each scrape down


class Metrics:
    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("rireki_http_requests", "Answered requests", ["method", "route", "status"], registry=registry)
        self.seconds = Histogram(
            "rireki_http_seconds", "Seconds until the response began", ["method", "route"], registry=registry
        )
        self.jobs = Gauge(
            "rireki_jobs",
            f"Jobs in the view; ended jobs are counted up to {MOST_COUNTED}",
            ["type", "status"],
            registry=registry,
        )
        self.workers = Gauge("rireki_workers", "Workers by state", ["state"], registry=registry)
        self.stuck = Gauge("rireki_stuck_handlers", "Handlers that ignore their cancellation", ["type"], registry=registry)
        self.paused = Gauge("rireki_paused", "1 for a job type that is paused", ["type"], registry=registry)
        self.seal_lag = Gauge(
            "rireki_seal_lag_seconds", "Seconds that the oldest event without a position has waited, or 0", registry=registry
        )
        self.checkpoint_size = Gauge(
            "rireki_checkpoint_size", "Events that the newest signed checkpoint covers, or 0", registry=registry
        )
        self.checkpoint_age = Gauge(
            "rireki_checkpoint_age_seconds", "Seconds since the newest checkpoint was signed, or 0", registry=registry
        )
        self.checkpoint_lag = Gauge(
            "rireki_checkpoint_lag_seconds",
            "Seconds that the oldest sealed event without a checkpoint has waited, or 0",
            registry=registry,
        )
        self.signing_stopped = Gauge(
            "rireki_signing_stopped",
            "1 if signing has stopped, because the log does not extend a checkpoint",
            registry=registry,
        )
        self.witness_lag = Gauge(
            "rireki_witness_lag_seconds",
            "Seconds that the oldest checkpoint after the last cosignature of a witness has waited, or 0",
            ["witness"],
            registry=registry,
        )
        self.waiting_copies = Gauge(
            "rireki_checkpoint_copies_waiting", "Checkpoints without a copy at AUDIT_CHECKPOINT_URL", registry=registry
        )
        self.watchers = Gauge("rireki_watchers", "Open streams and held responses", registry=registry)
        self.refusals = Counter(
            "rireki_refused", "Requests and jobs over a limit, by its setting", ["limit"], registry=registry
        )
        # Trick: the metric of each set of labels is cached, because `labels` checks and joins the labels again for every
        # request. Saves 12 % of a request's CPU (bench/results/tricks.md). Delete it when prometheus-client caches by itself.
        self.requests_of = functools.cache(self.requests.labels)
        self.seconds_of = functools.cache(self.seconds.labels)

    def refused(self, setting: str) -> None:
        """Counts a request or a job that is over the limit of this setting."""
        self.refusals.labels(setting).inc()
