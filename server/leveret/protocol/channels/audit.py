"""The audit log of what clients declare, bind and delete, at level debug: applications do that all
the time. What operators do is logged at level info (engine/administration/operator.py)."""

from leveret.protocol.channels.channel import Channel


def audit(channel: Channel, what: str, **fields: str) -> None:
    """Write an event of the audit log: who, from where, what."""
    session = channel.session
    session.logger.debug("audit", who=session.user, what=what, vhost=channel.vhost.name, **fields)
