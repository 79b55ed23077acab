"""The numbers the project lives by, measured against named peers in one run; never part of the tests."""
