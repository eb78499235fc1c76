"""Companies, the Chatwork rooms linked to them, and the summary drafts made of what was said there."""
