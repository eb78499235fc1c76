"""Runs one campaign: starts the service, loads it, breaks it, checks the log, cleans up."""

import asyncio
import contextlib
import random
import secrets
import shutil
import signal
import socket
import tempfile
import time
from collections import Counter
from itertools import count
from pathlib import Path

from redis.asyncio import Redis

from events.database import Database
from migrations.migrate import migrate
from projections.verify import UNSEALED, verify
from service.accounts.users import add_user
from tests.chaos import checks, rows
from tests.chaos.faults import Faults
from tests.chaos.fleet import GRACE, Fleet, Member
from tests.chaos.history import Violation, highest_in_any_window
from tests.chaos.load import Clients, Load
from tests.chaos.network import Line, to_port, to_socket
from tests.chaos.plan import LAP, Kind, Size, lap, plan
from tests.chaos.record import Record, User
from tests.chaos.report import Outcome, complaints, table
from tests.chaos.servers import Postgres
from tests.chaos.signing import ORIGIN, Signing
from tests.chaos.watch import LogReader, Snapshots
from tests.chaos.work import EFFECTS_TABLE
from tests.servers import RedisServer
from tests.service_fixture import NO_LIMITS
from workers.chatwork.sandbox import Sandbox

CALM = 60.0  # seconds after the last fault in which every job must end
LONGER = 60.0  # further seconds: a job that ends within them is reported as slow, a later one as stuck
EXTRA = 240.0  # seconds that a campaign may take in addition to the time of the load
CHATWORK_LIMIT, CHATWORK_WINDOW = 20, 30.0
"""The limit on requests to Chatwork: requests, and the seconds in which they are counted.

Chatwork's real period is 5 minutes. This one is shorter, so that a campaign reaches the limit many times.
"""
CHATWORK_ROOMS = 6
EMPLOYEES = 4
PASSWORD = "correct horse battery staple"

SEALED_WITHIN = 30.0  # seconds in which the APIs, which seal, give every event its position

PRESENT = "select pid from workers where gone_at is null and last_seen > now() - interval '8 seconds'"
ACTIVE = "select count(*) from jobs where status in ('queued', 'processing')"
TABLES = "select tablename from pg_tables where schemaname = 'public' and tablename not in ('workers', 'ended_tokens')"
DIGEST = "select md5(coalesce(string_agg(t::text, '' order by t::text), '')) from {table} t"


class Campaign:
    def __init__(self, size: Size, seed: int, folder: Path) -> None:
        self.size = size
        self.folder = folder
        self.outcome = Outcome(size, seed)
        self.record = Record(folder / "client.ndjson")
        self._began = time.monotonic()
        self._fleet = Fleet(random.Random(seed + 1))
        self._redis = RedisServer()
        self._postgres: Postgres | None = None
        self._signing: Signing | None = None
        self._sandbox = Sandbox(rooms={}, limit=10**6)
        self._lines: list[Line] = []
        self._judged = False

    def say(self, what: str) -> None:
        print(f"[{time.monotonic() - self._began:6.1f} s] {what}", flush=True)

    async def run(self) -> None:
        """Runs the campaign, and always ends the processes and servers that it started."""
        try:
            async with asyncio.timeout(self.size.at_most + EXTRA):
                await self._story()
        except TimeoutError:
            self._violated("campaign", f"the campaign did not end within {self.size.at_most + EXTRA:.0f} s")
        finally:
            self.outcome.seconds = time.monotonic() - self._began
            await self._end()

    async def _story(self) -> None:
        postgres = await self._start_servers()
        users = await self._start_service(postgres)
        seed = self.outcome.seed
        assert self._signing is not None
        faults = Faults(postgres, self._redis, self._fleet, self._signing, self.say, seed + 2)
        clients = Clients(self._fleet, self.record, random.Random(seed + 3))
        try:
            snapshots, reader = Snapshots(postgres.url), LogReader(clients, users[0])
            load = Load(clients, self.record, users, self._sandbox, self.size, random.Random(seed + 4))
            watching = [
                asyncio.create_task(work)
                for work in (snapshots.run(), reader.run(), self._fleet.watch(), self._tell(load, faults))
            ]
            await load.sync("rooms/sync")
            self.say("load and faults begin")
            await asyncio.gather(load.run(), self._break(faults, load))
            await self._calm(postgres, faults, load)
            for task in watching:
                task.cancel()
            broken = [
                error for error in await asyncio.gather(*watching, return_exceptions=True) if isinstance(error, Exception)
            ]
            for error in broken:
                raise error
            await self._sync_all_rooms(postgres, load)
            await self._flush_when_quiet(postgres)
            await self._judge(postgres, faults, snapshots, reader)
        finally:
            await clients.close()

    async def _start_servers(self) -> Postgres:
        postgres = self._postgres = await asyncio.to_thread(Postgres, self.folder / "servers")
        await asyncio.to_thread(migrate, postgres.url)
        connection = await rows.connect(postgres.url)
        await connection.execute(EFFECTS_TABLE)
        self._signing = Signing(self.folder, await connection.fetchval(ORIGIN), _free_port())
        await connection.close()
        await asyncio.to_thread(self._redis.start)
        await self._sandbox.__aenter__()
        for number in range(1, CHATWORK_ROOMS + 1):
            self._sandbox.add_room(str(number), f"Room {number}")
        self.say("PostgreSQL, Redis and Chatwork's sandbox are up")
        return postgres

    async def _start_service(self, postgres: Postgres) -> list[User]:
        (self.folder / "logs").mkdir()
        environment = {
            "APP_ENV": "test",
            "JWT_SECRET": secrets.token_hex(32),
            "WORKER_SHUTDOWN_GRACE_SECONDS": str(GRACE),
            "CHATWORK_API_BASE_URL": self._sandbox.base_url,
            "CHATWORK_API_TOKEN": self._sandbox.token,
            "CHATWORK_RATE_LIMIT": str(CHATWORK_LIMIT),
            "CHAOS_CHATWORK_WINDOW": str(CHATWORK_WINDOW),
            "RIREKI_HOME": str(self.folder / "home"),
            **{name.upper(): value for name, value in NO_LIMITS.items()},
        }
        names = ["api-1", "api-2", *(f"worker-{n}" for n in range(1, self.size.workers + 1))]
        for name in names:
            self._fleet.members.append(await self._member(name, environment, postgres))
        assert self._signing is not None
        self._signing.start_witness()
        for member in self._fleet.members:
            self._fleet.start(member)
        users = await self._add_users(postgres)
        await self._healthy(postgres, within=60)
        self.say(f"the service is up: {', '.join(names)}")
        return users

    async def _member(self, name: str, environment: dict[str, str], postgres: Postgres) -> Member:
        """Describes one process of the service, with its own proxies to PostgreSQL and Redis.

        The network can therefore fail for this process alone. The second API process also runs a
        worker.
        """
        line_to_postgres = Line(to_socket(lambda: postgres.socket_path))
        line_to_redis = Line(to_port(self._redis.port))
        for line in (line_to_postgres, line_to_redis):
            await line.open()
            self._lines.append(line)
        port = _free_port()
        own = {
            "DATABASE_URL": f"postgresql://rireki@127.0.0.1:{line_to_postgres.port}/rireki?sslmode=disable",
            "REDIS_URL": f"redis://127.0.0.1:{line_to_redis.port}/0",
            "JOB_WORKER_ENABLED": str(name == "api-2").lower(),
            "PORT": str(port),
        }
        if name.startswith("api") and self._signing is not None:
            own |= self._signing.environment
        return Member(
            name, name.partition("-")[0], environment | own, line_to_postgres, line_to_redis, self.folder / "logs",
            skewed=name == "worker-3", port=port,
        )  # fmt: skip

    async def _add_users(self, postgres: Postgres) -> list[User]:
        """Adds an admin and several employees, and signs them in over HTTP."""
        database = Database(postgres.url, pool_size=2)
        await database.connect()
        people = [("admin@example.com", "admin")] + [(f"person{n}@example.com", "employee") for n in range(EMPLOYEES)]
        users = []
        for email, role in people:
            added = await add_user(database, email, role, PASSWORD)
            users.append((added.id, email, role))
        await database.disconnect()
        await self._healthy_apis(within=60)
        clients = Clients(self._fleet, self.record, random.Random(0))
        nobody = User("", "", "", False)
        signed_in = []
        for id, email, role in users:
            body = {"email": email, "password": PASSWORD}
            answer = await clients.insist("login", nobody, "POST", "/api/auth/login", tries=20, body=body)
            if not answer.ok:
                raise RuntimeError(f"nobody can sign in: {answer}")
            signed_in.append(User(id, email, answer.document["token"], role == "admin"))
        await clients.close()
        return signed_in

    async def _break(self, faults: Faults, load: Load) -> None:
        """Carries out the planned faults, then more of them until the campaign is large enough.

        If too few jobs were accepted or too few faults carried out, rounds of `LAP` seconds follow
        until none is missing or the time is over.
        """
        size, seed, began = self.size, self.outcome.seed, time.monotonic()
        await faults.run(plan(size, seed), size.seconds)
        await asyncio.sleep(began + size.seconds - time.monotonic())
        for number in count(1):
            jobs, missing = self._missing(faults)
            if not (jobs or missing) or time.monotonic() + LAP > began + size.at_most:
                break
            self.say(f"still missing: {jobs} jobs, {missing.total()} faults")
            lap_ends = time.monotonic() + LAP
            await faults.run(lap(size, seed + 1000 * number, missing), LAP)
            await asyncio.sleep(lap_ends - time.monotonic())
        await faults.last_storm()
        load.end()

    def _missing(self, faults: Faults) -> tuple[int, Counter[Kind]]:
        return max(self.size.jobs - len(self.record.accepted), 0), Counter(self.size.required) - faults.done

    async def _calm(self, postgres: Postgres, faults: Faults, load: Load) -> None:
        """Ends all faults, and checks that every job then ends within `CALM` seconds."""
        await faults.heal()
        self.outcome.done = faults.done
        jobs, missing = self._missing(faults)
        if self.size.required and (jobs or missing):
            self._violated("campaign", f"the campaign was too small: {jobs} jobs and these faults are missing: {dict(missing)}")
        if not await self._healthy(postgres, within=60):
            self._violated(5, "an API process was not ready, or a worker sent no heartbeat, 60 s after the last fault")
        calm, calm_at = time.monotonic(), time.time()
        self.say(f"faults have ended; {load.pending} clients still wait for an answer")
        if not await load.settled(within=CALM):
            self._violated("answer", f"{load.pending} requests had no answer {CALM:g} s after the last fault")
        active = await self._all_ended(postgres, by=calm + CALM + LONGER)
        if active:
            self._violated(5, f"{active} jobs have not ended {CALM + LONGER:.0f} s after the last fault")
            return
        took = self.outcome.seconds_to_the_last_end = max(await self._last_end(postgres) - calm_at, 0.0)
        self.say(f"every job has ended, the last one {took:.1f} s after the last fault")
        if took > CALM:
            self._violated(5, f"the last job ended {took:.0f} s after the last fault")

    async def _sync_all_rooms(self, postgres: Postgres, load: Load) -> None:
        """Syncs each Chatwork room a last time. Afterwards every message must be stored."""
        for room_id in self._sandbox.rooms:
            await load.sync(f"messages/sync?roomId={room_id}")
        if await self._all_ended(postgres, by=time.monotonic() + CALM + CHATWORK_WINDOW):
            self._violated(5, "the syncs after the faults have not ended")

    async def _flush_when_quiet(self, postgres: Postgres) -> None:
        """Checks invariant 12: while no job is active, emptying Redis (FLUSHALL) changes no row."""
        if waiting := await self._all_placed(postgres, by=time.monotonic() + SEALED_WITHIN):
            self._violated(9, f"{waiting} events had no position {SEALED_WITHIN:g} s after the last one")
        assert self._signing is not None
        await self._signing.settled(postgres.url)
        before = await _digests(postgres)
        client = Redis.from_url(self._redis.url)
        await client.flushall()
        await client.aclose()
        await asyncio.sleep(2.5)
        after = await _digests(postgres)
        changed = [name for name in before if before[name] != after[name]]
        if changed:
            self._violated(12, f"FLUSHALL while no job was active changed rows of {', '.join(changed)}")
        self.outcome.compared_flushes += 1

    async def _judge(self, postgres: Postgres, faults: Faults, snapshots: Snapshots, reader: LogReader) -> None:
        connection = await rows.connect(postgres.url)
        await reader.finish(await connection.fetchval("select count(*) from job_events"))
        await connection.close()
        self.say("reading and checking the whole log")
        outcome = self.outcome
        found = outcome.found = await rows.everything(postgres.url)
        violations, outcome.figures = await asyncio.to_thread(
            checks.check, found, self.record, self._fleet.lives, faults.windows, reader.digests
        )
        outcome.violations += violations + checks.not_over(found) + self.record.violations
        outcome.violations += snapshots.violations + reader.violations + faults.violations + self._fleet.violations
        outcome.violations += self._chatwork(found)
        assert self._signing is not None
        of_signing, outcome.checkpoints = await self._signing.judge(postgres.url)
        outcome.violations += of_signing
        outcome.snapshots = snapshots.taken, snapshots.compared
        outcome.compared_flushes += faults.compared_flushes
        outcome.declared_gone = sum(member.has_said(b"this worker was declared gone") for member in self._fleet.members)
        outcome.starts, outcome.skewed_starts = self._fleet.starts, self._fleet.skewed_starts
        await self._second_opinion(postgres)
        self._judged = True

    def _chatwork(self, found: rows.Everything) -> list[Violation]:
        """Checks invariant 11: the requests that the Chatwork sandbox received kept to the limit.

        Also checks that every message of the sandbox is stored in the database.
        """
        requests = self._sandbox.requests
        most = highest_in_any_window((request.at for request in requests), CHATWORK_WINDOW)
        self.outcome.chatwork = (
            f"{len(requests)} requests, at most {most} in any {CHATWORK_WINDOW:g} s (limit {CHATWORK_LIMIT})"
        )
        violations = []
        if most > CHATWORK_LIMIT:
            violations.append(
                Violation(11, None, f"{most} requests within {CHATWORK_WINDOW:g} s; the limit is {CHATWORK_LIMIT}")
            )
        for room_id, room in self._sandbox.rooms.items():
            # Chatwork gives only the newest 100 messages. If a room gets more than 100 between two
            # reads, this check reports the others as missing.
            missing = {str(id) for id in room.message_ids} - found.said.get(room_id, set())
            if missing:
                violations.append(Violation("messages", None, f"room {room_id}: {len(missing)} messages were never stored"))
        return violations

    async def _second_opinion(self, postgres: Postgres) -> None:
        database = Database(postgres.url, pool_size=2)
        await database.connect()
        verified = await verify(database)
        await database.disconnect()
        self.outcome.second_opinion = f"{verified.jobs} jobs, {verified.events} events, {len(verified.differences)} differences"
        self.outcome.violations += [
            Violation("verify", difference.job_id, difference.detail) for difference in verified.differences
        ]

    async def _healthy(self, postgres: Postgres, *, within: float) -> bool:
        """Waits until both API processes are ready and every worker has sent a heartbeat.

        Returns False if this takes longer than `within` seconds.
        """
        until = time.monotonic() + within
        well = await self._healthy_apis(within=within)
        while well:
            with contextlib.suppress(*rows.AWAY):
                connection = await rows.connect(postgres.url)
                present = {row["pid"] for row in await connection.fetch(PRESENT)}
                await connection.close()
                if {worker.life.pid for worker in self._fleet.workers} <= present:
                    return True
            if time.monotonic() > until:
                return False
            await asyncio.sleep(0.3)
        return False

    async def _healthy_apis(self, *, within: float) -> bool:
        until = time.monotonic() + within
        for member in self._fleet.apis:
            while not await _is_ready(member.port):
                if time.monotonic() > until:
                    return False
                await asyncio.sleep(0.2)
        return True

    async def _last_end(self, postgres: Postgres) -> float:
        """Returns the time at which the last job ended, in Unix seconds.

        PostgreSQL runs on this machine, so its time can be compared with this process's time.
        """
        connection = await rows.connect(postgres.url)
        try:
            return float(await connection.fetchval("select extract(epoch from max(finished_at)) from jobs"))
        finally:
            await connection.close()

    async def _all_ended(self, postgres: Postgres, *, by: float) -> int:
        """Waits until no job is active, at most until the time `by`. Returns how many still are."""
        connection = await rows.connect(postgres.url)
        try:
            while True:
                active = int(await connection.fetchval(ACTIVE))
                if not active or time.monotonic() > by:
                    return active
                await asyncio.sleep(0.2)
        finally:
            await connection.close()

    async def _all_placed(self, postgres: Postgres, *, by: float) -> int:
        """Waits until an API has given every event its position, but not longer than until `by`.

        Returns the number of events without one.
        """
        connection = await rows.connect(postgres.url)
        try:
            while True:
                waiting = int(await connection.fetchval(UNSEALED))
                if not waiting or time.monotonic() > by:
                    return waiting
                await asyncio.sleep(0.2)
        finally:
            await connection.close()

    async def _tell(self, load: Load, faults: Faults) -> None:
        while True:
            await asyncio.sleep(10)
            up = sum(member.running for member in self._fleet.members)
            self.say(
                f"{len(self.record.accepted)} jobs accepted, {faults.done.total()} faults, {load.pending} clients busy, "
                f"{up} of {len(self._fleet.members)} processes up"
            )

    async def _end(self) -> None:
        for member in self._fleet.members:
            for line in (member.postgres, member.redis):
                line.heal()
        disorderly = await self._fleet.end()
        if self._judged and disorderly:
            self._violated(
                "stopping",
                f"these processes did not end with status 0, although no fault was active and no job waited: {disorderly}",
            )
        if self._signing is not None:
            await asyncio.to_thread(self._signing.close)
        for line in self._lines:
            await line.close()
        await asyncio.to_thread(self._redis.stop)
        await self._sandbox.__aexit__(None, None, None)
        if self._postgres is not None:
            await asyncio.to_thread(self._postgres.close)
        self.record.close()

    def _violated(self, invariant: int | str, detail: str) -> None:
        self.say(f"VIOLATED: {detail}")
        self.outcome.violations.append(Violation(invariant, None, detail))


async def run(size: Size, seed: int, *, keep: bool) -> int:
    """Runs a campaign. Returns the exit status: 0 if no invariant was violated."""
    print(f"{size.name} campaign, seed {seed}", flush=True)
    story = asyncio.current_task()
    assert story is not None
    # SIGTERM cancels the campaign, which then ends the processes that it has started.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, story.cancel)
    folder = Path(tempfile.mkdtemp(prefix="rireki-chaos-"))
    campaign = Campaign(size, seed, folder)
    try:
        await campaign.run()
    except BaseException:
        print(f"The campaign stopped early; its logs and data are in {folder}", flush=True)
        raise
    outcome = campaign.outcome
    told = table(outcome, campaign.record)
    print(f"\n{told}")
    if outcome.violations:
        print(complaints(outcome))
    if outcome.violations or keep:
        _keep(campaign, told)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if outcome.violations else 0


def _keep(campaign: Campaign, told: str) -> None:
    folder = campaign.folder
    (folder / "report.md").write_text(f"{told}\n{complaints(campaign.outcome)}\n")
    print(f"\nKept in {folder}: logs/ (one file for each process), client.ndjson (every request), report.md,")
    print("servers/ (PostgreSQL's data: the whole log)", flush=True)


async def _digests(postgres: Postgres) -> dict[str, str]:
    connection = await rows.connect(postgres.url)
    try:
        names = [row["tablename"] for row in await connection.fetch(TABLES)]
        return {name: await connection.fetchval(DIGEST.format(table=name)) for name in names}
    finally:
        await connection.close()


async def _is_ready(port: int) -> bool:
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = await reader.read(100)
            writer.close()
            return answer.startswith(b"HTTP/1.1 200")
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
