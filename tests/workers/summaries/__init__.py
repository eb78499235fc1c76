"""Companies, drafts, and the two summarisers.

test_companies.py          companies, their rooms, and the company of a message
test_drafts.py             stored drafts, and the choice of messages
test_due_dates.py          due dates in Japanese and English
test_extractive.py         the summariser without a language model
test_hostile_text.py       parsing takes linear time, whatever the text holds
test_incomplete_drafts.py  the note on a draft whose period may lack messages
test_model_answers.py      odd responses of a model's server
test_model_watch.py        the announced end of a model
test_summariser.py         the summariser with a language model
test_summary_draft.py      the job type `summary_draft`
"""
