"""A small real RAG stack, and the story of losing and regaining it. To add a store: copy what stack.py does for chat."""
