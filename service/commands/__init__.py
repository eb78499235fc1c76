"""The code of the commands of `rireki`.

`service/cli.py` and the files `service/cli_*.py` declare their options.

audit.py        `rireki projections rebuild`
checkpoints.py  `rireki audit keygen`, `key`, `checkpoint`, `new-log`
demo.py         `rireki demo`
export.py       `rireki audit export` and `verify-export`
jobs.py         `rireki jobs`
operators.py    `rireki workers`, `rireki pause`, `rireki resume`
past_jobs.py    `rireki audit at`
plain_text.py   makes untrusted text safe to print to a terminal
proofs.py       `rireki audit proof` and `verify-proof`
recording.py    writes into the record of access that a command line did something
replay.py       `rireki audit replay`
running.py      runs a command's work, and ends the process with a status
users.py        `rireki users`
verify.py       `rireki audit verify`
witness.py      `rireki audit witness`
"""
