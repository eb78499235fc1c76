"""What one API process is made of. The process assembly fills it; endpoints reach all they need through it."""

from dataclasses import dataclass, field

from events.bus import Bus
from events.database import Database
from events.store import Store
from projections.jobs import JobsView
from service.accounts.sign_in_limit import SignInLimit
from service.accounts.users import Users
from service.config import Settings
from service.http.metrics import Metrics
from service.live.job_watches import JobWatches
from service.live.verifier import Verifier
from workers.delivery.wire import Wire
from workers.resources import Resources


@dataclass(frozen=True, slots=True)
class Parts:
    """When the process is asked to end, `live.close()` is called first: open streams and held answers then end by themselves, or
    the server would wait for them."""

    settings: Settings
    database: Database
    store: Store
    bus: Bus
    jobs: JobsView
    wire: Wire
    resources: Resources
    users: Users
    tries: SignInLimit
    live: JobWatches
    verifier: Verifier
    metrics: Metrics = field(default_factory=Metrics)
