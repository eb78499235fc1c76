"""The extractive summariser, which quotes sentences and needs no language model.

actions.py       next actions: open requests and promises, their owner and due date
conversation.py  splits messages into turns and lines, room by room
cues.py          recognises greetings, questions, requests, promises, reports
dates.py         reads due dates in Japanese and English
extractive.py    the summariser: chooses lines for each heading and writes the draft
open_items.py    open items: the questions that nobody answered
points.py        summary: the most central sentences
sentences.py     splits text into sentences, and sentences into content words
topics.py        key topics: the phrases that recur
words.py         word lists, Japanese and English
"""
