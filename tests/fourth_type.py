"""Runs `rireki` with a fourth job type, registered as a user of the code would do it."""

import asyncio
from typing import Literal

from pydantic import Field

from events.job import JSON
from workers.job_type import Context, JobType, Payload
from workers.registry import JOB_TYPES


class InvoiceExport(Payload):
    fiscal_year: int = Field(ge=2000, le=2100, description="The year of the invoices.")
    form: Literal["csv", "pdf"] = "csv"


async def export(context: Context, payload: InvoiceExport) -> JSON:
    await asyncio.sleep(0)
    return {"exported": 3}


INVOICE_EXPORT = JobType(
    name="invoice_export",
    title="請求書の書き出し",
    payload=InvoiceExport,
    describe=lambda payload: f"{payload.fiscal_year}年度",
    run=export,
    deadline=60.0,
    role="employee",
)
UNTITLED = JobType(name="untitled_work", payload=InvoiceExport, run=export, deadline=60.0)
FURTHER = {job_type.name: job_type for job_type in (INVOICE_EXPORT, UNTITLED)}


def main() -> None:
    JOB_TYPES.update(FURTHER)
    from service.cli import main

    main()
