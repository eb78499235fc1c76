"""The list of all kinds of tampers, and the findings that each must cause."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from events.audit_findings import FindingName
from tests.tamper import of_events, of_guards, of_positions, of_signatures, of_view
from tests.tamper.hand import Hand

Tamper = Callable[[Hand], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of tamper. A verification must give all findings of `names`, and one of `one_of` if there are any.

    With a copy of the checkpoints from outside it must give those of `with_copy` too. If `needs_copy`, it finds nothing without.
    """

    tamper: Tamper
    names: frozenset[FindingName]
    one_of: frozenset[FindingName] = frozenset()
    with_copy: frozenset[FindingName] = frozenset()
    needs_copy: bool = False

    @property
    def name(self) -> str:
        return f"{self.tamper.__module__.rpartition('.')[2].removeprefix('of_')}: {self.tamper.__name__.replace('_', ' ')}"


def _all(names: str, *tampers: Tamper, one_of: str = "", with_copy: str = "", needs_copy: bool = False) -> list[Kind]:
    return [Kind(tamper, _names(names), _names(one_of), _names(with_copy), needs_copy) for tamper in tampers]


def _names(text: str) -> frozenset[FindingName]:
    return frozenset(map(FindingName, text.split()))


e, p, g, v, s = of_events, of_positions, of_guards, of_view, of_signatures

KINDS = [
    *_all(
        "MODIFIED", e.result, e.payload, e.actor, e.request_id, e.cause, e.time, e.salt, e.attempt, e.kind, e.extra_key,
        e.json_in_another_form, e.users_renamed, e.workers_renamed, e.erased_without_note, p.a_leaf_forged, p.a_root_forged,
    ),
    *_all("MISSING", e.number, e.job_id, e.a_job_removed, p.a_tile_removed, p.a_row_of_the_tail_removed),
    *_all("INSERTED", e.event_id, e.inserted_in_the_past, e.inserted_with_a_future_transaction),
    *_all("REORDERED", e.transaction, p.two_events_swapped, p.two_events_swapped_without_their_leaves),
    *_all("REORDERED", p.two_rows_of_the_tail_swapped),
    *_all("MISSING", e.the_last_event_of_a_job_removed, e.a_range_removed),
    *_all("MISSING SEQ_GAP", e.one_event_removed),
    *_all("MODIFIED", e.one_event_removed_and_its_job_renumbered, one_of="MISSING TRUNCATED_TAIL"),
    *_all("INCONSISTENT", e.changed_and_sealed_again, e.inserted_and_all_renumbered),
    *_all(
        "INCONSISTENT TRUNCATED_TAIL", e.one_event_removed_and_all_renumbered, e.a_job_removed_and_all_renumbered,
        e.a_range_removed_and_all_renumbered,
    ),
    *_all("TRUNCATED_TAIL", e.the_tail_removed, e.the_tail_removed_with_its_positions, e.everything_removed),
    *_all("TRUNCATED_TAIL MISSING", e.the_tail_removed_with_its_checkpoints, needs_copy=True),
    *_all("INCONSISTENT MISSING", e.changed_and_sealed_again_without_checkpoints, needs_copy=True),
    *_all("BACKDATED", e.a_backdated_job),
    *_all("INSERTED", p.an_upper_tile_added, p.a_position_doubled, p.the_cursor_set_back, p.the_cursor_names_an_earlier_event),
    *_all("TRUNCATED_TAIL", p.the_cursor_set_forward, p.the_cursor_names_a_later_event, p.the_cursor_removed),
    *_all(
        "GUARD_MISSING", g.a_trigger_dropped, g.a_trigger_switched_off, g.a_trigger_hollowed, g.a_trigger_added,
        g.a_check_dropped, g.a_key_dropped, g.a_check_weakened, g.an_index_dropped, g.a_rule_added, g.row_security_added,
        g.a_column_weakened,
    ),
    *_all("VIEW_DRIFT", v.a_column_edited, v.a_worker_edited, v.a_row_removed, v.a_row_added),
    *_all(
        "BAD_SIGNATURE", s.a_root_edited, s.a_size_edited, s.a_note_edited, s.a_signature_removed, s.signed_again_by_another_key,
        s.the_origin_renamed,
    ),
    *_all("MISSING", s.checkpoints_set_back, needs_copy=True),
    *_all("BAD_SIGNATURE", s.a_later_log_invented, with_copy="TRUNCATED_TAIL MISSING"),
    *_all("BAD_SIGNATURE MODIFIED", s.erased_with_a_forged_note, s.changed_under_the_note_of_another_event),
]  # fmt: skip
