"""What is thought of a text before anyone answers it: rules, and a classifier in a process of its own."""
