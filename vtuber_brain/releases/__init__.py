"""The published versions of every persona's lora, on disk."""
