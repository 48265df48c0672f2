"""What the demo does with a gateway, apart from how it shows it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.keys import generate_secret_key, public_bytes, public_key_pem
from registry.signing import sign
from stockade.cli.audit_check import Report, check_chain
from stockade.cli.demo.examples import Example
from stockade_client import Client, GuestFailed, StockadeApiError, Usage

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_WAIT_SECONDS = 30.0
_SIGNER = "demo"


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one example; `problem` is None when all is as expected."""

    example: Example
    outcome: str
    limit: str | None
    usage: Usage
    output_bytes: int
    problem: str | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """An upload that must be refused, and the code it was refused with (None: it was not)."""

    what: str
    code: str | None
    expected: tuple[str, ...]

    @property
    def right(self) -> bool:
        """Whether it was refused for the right reason."""
        return self.code in self.expected


class Tour:
    """Signs with a key of its own, which the tenant is made to trust.

    Args:
        client: Of the tenant.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._key: Ed25519PrivateKey = generate_secret_key()
        client.add_signer(_SIGNER, public_key_pem(public_bytes(self._key)).decode())

    def show(self, example: Example) -> Finding:
        """Signs, uploads, deploys and invokes an example, and compares what comes of it."""
        module = self._client.upload_module(sign(example.module, self._key))
        self._client.put_function(
            example.name,
            module.digest,
            limits=example.limits,
            grants=example.grants,
            env=example.env,
        )
        output, invocation_id = self._invoke(example)
        record = self._client.get(invocation_id)
        outcome, limit = record.outcome or record.state, record.limit
        problem = _problem(example, outcome, limit, output)
        return Finding(example, outcome, limit, record.usage, len(output), problem)

    def offer_bad_uploads(self, example: Example) -> list[Refusal]:
        """Offers modules: not signed, changed since, and signed by a key that was revoked."""
        tampered = bytearray(sign(example.module, self._key))
        tampered[-1] ^= 1
        invalid = ("module.signature_invalid", "module.signature_mismatch")
        refusals = [
            self._offer("unsigned module", example.module, ("module.unsigned",)),
            self._offer("module changed by one bit", bytes(tampered), invalid),
        ]
        self._client.revoke_signer(_SIGNER, "The demo is over.")
        signed, revoked = sign(example.module, self._key), ("module.signer_revoked",)
        return [*refusals, self._offer("module of a revoked signer", signed, revoked)]

    def check_audit_log(self) -> Report:
        """Verifies the log of all that was done and refused, against the key that it names."""
        return check_chain(self._client.audit_lines(), None, None)

    def _invoke(self, example: Example) -> tuple[bytes, str]:
        try:
            result = self._client.invoke(example.name, example.content, wait_seconds=_WAIT_SECONDS)
        except GuestFailed as failure:
            return b"", failure.invocation_id
        return result.output, result.invocation_id

    def _offer(self, what: str, wasm: bytes, expected: tuple[str, ...]) -> Refusal:
        try:
            self._client.upload_module(wasm)
        except StockadeApiError as error:
            return Refusal(what, error.code, expected)
        return Refusal(what, None, expected)


def _problem(example: Example, outcome: str, limit: str | None, output: bytes) -> str | None:
    if outcome != example.expected_outcome:
        return f"the outcome should be {example.expected_outcome}"
    if example.expected_limit and limit not in example.expected_limit.split("|"):
        return f"the limit should be {example.expected_limit}"
    if example.expected is not None and output != example.expected:
        return "the output is not the expected one"
    return None
