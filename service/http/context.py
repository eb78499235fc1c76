"""`ApiContext`: the objects that all endpoints of one API process share."""

from dataclasses import dataclass, field

from events.bus import Bus
from events.database import Database
from events.store import Store
from projections.jobs import JobsView
from service.accounts.access_records import AccessRecords
from service.accounts.known_devices import KnownDevices
from service.accounts.oidc_sign_in import Oidc
from service.accounts.sign_in_limit import SignInLimit
from service.accounts.users import Users
from service.checkpoints.signing import Signing
from service.config import Settings
from service.http.metrics import Metrics
from service.limits.limits import Limits
from service.live.job_watches import JobWatches
from service.live.verifier import Verifier
from workers.delivery.wire import Wire
from workers.resources import Resources


@dataclass(frozen=True, slots=True)
class ApiContext:
    """Keeps the objects that all endpoints share. An endpoint reads them as `call.context`.

    A process must call `job_watches.close()` before it stops the server: it ends the open streams and the responses that
    wait for a job, for which the server would wait.
    """

    settings: Settings
    database: Database
    store: Store
    bus: Bus
    jobs: JobsView
    wire: Wire
    resources: Resources
    users: Users
    access_records: AccessRecords
    devices: KnownDevices
    sign_in_limit: SignInLimit
    limits: Limits
    job_watches: JobWatches
    verifier: Verifier
    oidc: Oidc | None = None
    metrics: Metrics = field(default_factory=Metrics)
    sealer: Database | None = None
    """The database over which this process seals the log. None if another process seals."""
    signing: Signing | None = None
    """What signs the log in this process. None if it does not seal, or has no key."""
