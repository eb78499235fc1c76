"""The extract made without a language model: lines that were said, chosen and quoted.

actions.py       what is still to be done, by whom, and by when
conversation.py  messages read into turns and lines, room by room
cues.py          what a sentence does
dates.py         the day by which something is due, as people write it in Japanese and English
extractive.py    the summariser that needs no model and no network
open_items.py    the questions that are still open
points.py        the sentences that say most about a conversation
sentences.py     text cut into sentences, and sentences into the words that carry their meaning, in Japanese and Engl
topics.py        what the messages were about
words.py         word lists of the extractive summariser
"""
