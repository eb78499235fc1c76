"""Brings a due job to a worker, through Redis or inside the process.

enqueue.py     queues jobs: for the API, a schedule, a webhook
tick.py        finds due jobs in the log and sends their hints again
wire.py        `Hint` (an attempt is due), `Claim`, `Capacity`, and the wire inside one process
redis_wire.py  `RedisWire`, the wire over Redis, in arq's own keys
arq_loop.py    arq's worker, changed to claim from our wire
"""
