"""The control API: state, commands, roles, audit over HTTP. `server` and `routes` import FastAPI: import them late."""
