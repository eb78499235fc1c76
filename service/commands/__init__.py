"""What the commands of `rireki` do.

audit.py       what `rireki audit` prints
demo.py        the main job from end to end, with no hands
operators.py   what `rireki workers`, `rireki pause` and `rireki resume` do
plain_text.py  data as a terminal may show it
"""
