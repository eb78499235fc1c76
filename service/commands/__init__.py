"""The code of the commands whose options are declared in `service/cli.py`.

audit.py       `rireki audit replay`, `verify`, `export`; `rireki projections rebuild`
demo.py        `rireki demo`
operators.py   `rireki workers`, `rireki pause`, `rireki resume`
plain_text.py  makes untrusted text safe to print to a terminal
users.py       `rireki users add`
"""
