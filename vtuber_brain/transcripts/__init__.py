"""The log of everything heard and said: one SQLite file that the daemon appends to, and what reads it afterwards.

`store` writes, `schema` holds the tables and their migrations, `rows` says which rows an event becomes, `export` reads.
"""
