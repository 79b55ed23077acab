"""The section of the control API; apart from the others only because a file has room for so much."""

from pydantic import Field, SecretStr

from vtuber_brain.sections import Count, Port, Seconds, Section


class ControlSettings(Section):
    """`[control]` the HTTP API of the operator: state, commands, roles, metrics (docs/control.md)."""

    enabled: bool = Field(True, description="whether to listen")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: Port = Field(8765, description="port to listen on; 0 takes a free one")
    panel: bool = Field(
        False, description="whether the operator's panel is served there too (docs/panel.md); it needs the extra panel"
    )
    open_browser: bool = Field(
        True, description="whether run opens panel and overlay in a browser, from a terminal on a desktop"
    )
    viewer_token: SecretStr | None = Field(None, description="bearer token of those who may look; unset: nobody's")
    moderator_token: SecretStr | None = Field(
        None, description="token of those who may also mute, skip, rate, decide what is held, edit the block list"
    )
    owner_token: SecretStr | None = Field(
        None,
        description="token of those who may do all; unset on loopback: one made in the state folder",
    )
    open_metrics: bool = Field(False, description="whether /metrics is given without a token")
    origins: list[str] = Field([], description="further browser origins allowed; a client without Origin always is")
    requests_per_s: Seconds = Field(20, description="requests per second of one client in the long run; more get 429")
    burst: Count = Field(60, description="requests at once of one client before requests_per_s applies; mute is exempt")
    max_body_bytes: Count = Field(65536, description="a longer request is refused (413)")
    max_connections: Count = Field(64, description="connections at once; more are turned away (503)")
    max_streams: Count = Field(16, description="readers of /v1/events at once; more are turned away (503)")
    audit_max_bytes: Count = Field(10_000_000, description="size from which the audit log begins anew; four are kept")
