"""Companies and their drafts: the model, and the extract made without one.

answer.py         what an OpenAI-compatible server answers to a chat completion, read into text; and what it may say instead
citations.py      how a model's answer points back at messages
companies.py      companies and the Chatwork rooms linked to them
digest/           the extract made without a language model
drafts.py         the summary drafts, one for each company and period, and the messages that they are made of
gap_note.py       the sentence with which a draft begins where messages of its period may be missing
markdown.py       the four headings of a draft
markup.py         chatwork's markup, read into plain text (https://developer.chatwork.com/docs/message-notation)
model.py          the client of an OpenAI-compatible server (https://platform.openai.com/docs/api-reference/chat)
model_watch.py    looks once a day whether the model is about to be shut down
prompt.py         what a language model is asked
reasoning.py      A model's thoughts, which some servers leave in its answer
summariser.py     turns messages into a draft
summary.py        what goes into a summary and what comes out of it
summary_draft.py  the job type `summary_draft`
"""
