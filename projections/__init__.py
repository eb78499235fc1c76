"""Tables folded from the log, and what is read and checked over the whole of it.

changes.py  the log as changes
guards.py   what guards the log in the database itself, as the catalog has it, compared with what the migrations make
jobs.py     the jobs view
rebuild.py  builds the jobs view anew beside the live one and swaps them, while the service runs
seal.py     the order of the whole log
search.py   looking for events in the log, forwards or back from its end
verify.py   folds every event again and compares with what people are shown; checks that the log itself is whole, and guarded
"""
