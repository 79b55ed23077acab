"""From the model's stream of text to spoken lines: cues taken out, sentences cut. Pure; it plays and sends nothing."""
