"""The voice: a process of its own that hears the bus, makes sound of each sentence, and has one output play it."""
