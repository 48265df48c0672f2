"""What callers can ask to do, and which of it goes together."""

from enum import StrEnum


class Group(StrEnum):
    """Actions that go together, in scopes and in policies."""

    READ = "read"
    INVOKE = "invoke"
    DEPLOY = "deploy"
    ADMINISTER = "administer"


class Action(StrEnum):
    """What a caller asks to do. The words are those of the policies."""

    READ = "read"
    INVOKE = "invoke"
    CANCEL = "cancel"
    REDRIVE = "redrive"
    UPLOAD = "upload"
    PUSH_BLOB = "push_blob"
    DELETE_ARTIFACT = "delete_artifact"
    ADMIT = "admit"
    DEPLOY = "deploy"
    POINT_ALIAS = "point_alias"
    DELETE_FUNCTION = "delete_function"
    DELETE_MODULE = "delete_module"
    SCHEDULE = "schedule"
    REPLAY = "replay"
    MANAGE_KEYS = "manage_keys"
    MANAGE_SIGNERS = "manage_signers"
    MANAGE_SECRETS = "manage_secrets"
    READ_AUDIT = "read_audit"
    MANAGE_RETRIES = "manage_retries"

    @property
    def group(self) -> Group:
        """The group it belongs to."""
        return _GROUPS[self]

    @property
    def is_audited(self) -> bool:
        """Whether the audit log tells of it when it is done; of what is refused it always does.

        Reads change nothing, invocations have records, and blobs are nothing before a manifest
        is uploaded that needs them.
        """
        return self not in _NOT_AUDITED


_NOT_AUDITED = frozenset((Action.READ, Action.INVOKE, Action.READ_AUDIT, Action.PUSH_BLOB))
_GROUPS = {
    Action.READ: Group.READ,
    **dict.fromkeys((Action.INVOKE, Action.CANCEL, Action.REDRIVE), Group.INVOKE),
    **dict.fromkeys(
        (
            Action.UPLOAD,
            Action.PUSH_BLOB,
            Action.DELETE_ARTIFACT,
            Action.ADMIT,
            Action.DEPLOY,
            Action.POINT_ALIAS,
            Action.DELETE_FUNCTION,
            Action.DELETE_MODULE,
            Action.SCHEDULE,
            Action.REPLAY,
        ),
        Group.DEPLOY,
    ),
    **dict.fromkeys(
        (
            Action.MANAGE_KEYS,
            Action.MANAGE_SIGNERS,
            Action.MANAGE_SECRETS,
            Action.MANAGE_RETRIES,
            Action.READ_AUDIT,
        ),
        Group.ADMINISTER,
    ),
}
