"""The formats of the proof (`projections/proof/`, docs/log-format.md).

go/           a program that uses the code behind Go's checksum database
golden/       exported logs of each released format
stranger.py   a second implementation, which shares no code with ours
trees.py      the Merkle tree by the recursive definitions of RFC 9162
vectors.py    the test vectors, written to docs/log-format.json
"""
