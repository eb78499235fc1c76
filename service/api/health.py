"""`/healthz`, `/readyz` and `/metrics`: for probes and for Prometheus."""

import asyncio
import contextlib
import secrets
from datetime import timedelta
from ipaddress import ip_address
from typing import Literal, NotRequired

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from events.database import DATABASE_ERRORS
from events.database_faults import fault, log_trouble
from projections.checkpoints import NoLog, SigningState, signing_status
from projections.cosignatures import witness_lags
from projections.seal import seal_lag
from service.http.authentication import token_of
from service.http.context import ApiContext
from service.http.endpoint import Answer, Call, Endpoint, Who, json_answer
from service.http.metrics import MOST_COUNTED, Metrics
from service.http.problems import Problem
from service.http.request import Nothing
from service.readiness import SERVING, SERVING_AND_SEALING, Readiness, late_checkpoints, late_positions, late_witnesses, look_at
from workers.liveness.heartbeat import LEASE
from workers.liveness.worker_table import workers_seen
from workers.pauses import Pauses

READY_WITHIN = 2.0  # seconds in which the database must answer
MEASURED_WITHIN = 5.0  # seconds for the database's metrics; after that, the others are sent without them


log = structlog.get_logger("rireki.http")


class Health(TypedDict):
    status: Literal["ok"]


class ModelShutdown(TypedDict):
    """The summary model that its vendor shuts down, and the last day on which it works."""

    model: str
    date: str


class Ready(TypedDict):
    """The response of `/readyz`. `warnings` are sentences for an operator.

    `modelShutdown` repeats the facts of one warning.
    """

    status: Literal["ok"]
    warnings: NotRequired[list[str]]
    modelShutdown: NotRequired[ModelShutdown]


async def healthz(call: Call[Nothing, Nothing]) -> Response:
    answer: Health = {"status": "ok"}
    return json_answer(answer)


async def readyz(call: Call[Nothing, Nothing]) -> Response:
    if call.context.job_watches.closed:
        raise Problem(503, "This process is stopping.", headers={"Retry-After": "2"})
    # The API serves requests even while Redis is unreachable, so that is no fault. A wrong password or address is a fault, because
    # only a person can correct it.
    if (redis_fault := call.context.bus.fault) is not None:
        raise Problem(503, f"This process cannot serve: REDIS_URL: {redis_fault}.")
    readiness = await _look_at(call.context)
    if readiness.fault is not None:
        raise Problem(503, f"This process cannot serve: {readiness.fault}.")
    answer: Ready = {"status": "ok"}
    shutdown = call.context.resources.summariser.watch.shutdown
    if warnings := [*readiness.warnings, *([shutdown.detail] if shutdown else [])]:
        answer["warnings"] = warnings
    if shutdown is not None:
        answer["modelShutdown"] = {"model": shutdown.model, "date": shutdown.on.isoformat()}
    return json_answer(answer)


async def _look_at(context: ApiContext) -> Readiness:
    try:
        async with asyncio.timeout(READY_WITHIN):
            duty = SERVING_AND_SEALING if context.sealer is context.database else SERVING
            readiness = await look_at(context.database, production=context.settings.production, duty=duty)
            if readiness.fault is None:
                readiness.warnings.extend(await late_positions(context.database))
                readiness.warnings.extend(await _late_checkpoints(context))
                readiness.warnings.extend(await late_witnesses(context.database, context.settings.witnesses))
            return readiness
    except Exception as error:
        if (cause := fault(error)) is None:
            raise
        return Readiness(cause, [])


async def _late_checkpoints(context: ApiContext) -> list[str]:
    try:
        warnings = await late_checkpoints(context.database, production=context.settings.production)
    except NoLog as error:
        return [str(error)]
    trouble = None if context.signing is None else context.signing.trouble
    return warnings if trouble is None or any(trouble in warning for warning in warnings) else [*warnings, trouble]


async def metrics(call: Call[Nothing, Nothing]) -> Response:
    _must_be_let_in(call)
    measured = call.context.metrics
    measured.watchers.set(call.context.job_watches.watchers)
    try:
        async with asyncio.timeout(MEASURED_WITHIN):
            await _measure(measured, call.context)
    except DATABASE_ERRORS as error:
        # The other metrics are still sent, because they matter most while the database is unreachable.
        log_trouble(log, "the metrics of the database cannot be read", error)
    return Response(generate_latest(measured.registry), media_type=CONTENT_TYPE_LATEST)


async def _measure(measured: Metrics, context: ApiContext) -> None:
    """Sets the metrics of jobs, workers, pauses and the sealer's lag from the database."""
    for gauge in (measured.jobs, measured.workers, measured.stuck, measured.paused):
        gauge.clear()
    for job_type, statuses in (await context.jobs.counts(most=MOST_COUNTED)).items():
        for status, jobs in statuses.items():
            measured.jobs.labels(job_type, status).set(jobs)
    for worker in await workers_seen(context.database, lease=LEASE, remembered=timedelta(0)):
        measured.workers.labels(worker.presence).inc()
        for handler in worker.stuck:
            measured.stuck.labels(handler.type).inc()
    measured.seal_lag.set(await seal_lag(context.database))
    await _measure_checkpoints(measured, context)
    for job_type in await Pauses(context.database).in_force():
        measured.paused.labels(job_type).set(1)


async def _measure_checkpoints(measured: Metrics, context: ApiContext) -> None:
    with contextlib.suppress(NoLog):
        status = await signing_status(context.database)
        measured.checkpoint_size.set(0 if status.newest is None else status.newest.size)
        measured.checkpoint_age.set(status.age or 0)
        measured.checkpoint_lag.set(status.lag)
        measured.signing_stopped.set(status.state is SigningState.STOPPED)
        measured.waiting_copies.set(status.waiting_copies)
    for lag in await witness_lags(context.database, context.settings.witnesses):
        measured.witness_lag.labels(lag.witness).set(lag.seconds)


def _must_be_let_in(call: Call[Nothing, Nothing]) -> None:
    wanted = call.context.settings.metrics_token
    given = token_of(call.request, call.context.settings)
    if wanted is not None and given is not None and secrets.compare_digest(given.encode(), wanted.encode()):
        return
    if not _from_this_machine(call.request):
        raise Problem(403, "Metrics are only sent to this machine, or with METRICS_TOKEN as a bearer token.")


def _from_this_machine(request: Request) -> bool:
    # A request with these headers came through a proxy on this machine, so its client may be on another machine.
    forwarded = "forwarded" in request.headers or "x-forwarded-for" in request.headers
    try:
        return not forwarded and request.client is not None and ip_address(request.client.host).is_loopback
    except ValueError:
        return False


ENDPOINTS = (
    Endpoint("GET", "/healthz", healthz, Who.ANYONE, "Whether the process is alive.", {200: Answer(Health, "It is alive.")}),
    Endpoint(
        "GET", "/readyz", readyz, Who.ANYONE, "Whether the process can serve requests.",
        {200: Answer(Ready, "The process can serve. `warnings` are for an operator.")}, problems=(503,),
    ),
    Endpoint(
        "GET", "/metrics", metrics, Who.ANYONE, "The metrics for Prometheus, for this machine or the bearer token METRICS_TOKEN.",
        {200: Answer(None, "The metrics as text.")}, problems=(403,),
    ),
)  # fmt: skip
