"""Whatever turns a prompt into tokens: the wire and the client run in the daemon, everything else in the worker.

A request's life: `client` → `wire` → `worker` → `scheduler` (who runs) → `runner` over `kvcache` (one forward for all)
→ `sampling` → `render` (tokens to words) → `wire` → `client`.
"""
