"""Companies and their summary drafts, by a language model or by extraction.

answer.py         reads the response to a chat completion: its text, or the error in it
citations.py      finds the message numbers that a model cites, and removes the markers
companies.py      companies and the Chatwork rooms linked to them
digest/           the extractive summariser, which needs no language model
drafts.py         stores and lists drafts, and chooses the messages for a draft
gap_note.py       the note at the top of a draft whose period may lack messages
markdown.py       the four headings of a draft
markup.py         converts Chatwork's markup to plain text
model.py          the HTTP client of an OpenAI-compatible server
model_watch.py    checks once a day whether the vendor will soon shut the model down
prompt.py         the prompts sent to the language model
reasoning.py      removes the reasoning that some servers leave in an answer
summariser.py     makes a draft, by a language model if there is a key, else by extraction
summary.py        the input and the output of a summary: Message, Summary, TokenUsage
summary_draft.py  the job type `summary_draft`
"""
