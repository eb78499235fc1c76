"""Fuzzing: sends hostile requests to the service, and hostile inputs to each parser.

api.py                   requests that schemathesis makes from the OpenAPI document, and checks of the answers
__main__.py              `python -m tests.fuzz --requests N` or `--inputs N`
inputs.py                runs the readers, and measures time and memory of each input
mutate.py                makes hostile inputs from examples
readers_of_proofs.py     what proves the log: notes, checkpoints, keys, entries, tiles
readers_of_requests.py   what an HTTP client sends: headers, bodies, queries, cursors
readers_of_servers.py    what others send: Chatwork, the model, Redis, addresses
server.py                the service, PostgreSQL and Redis for the requests
test_fuzz.py             some hundred inputs for each reader in CI
"""
