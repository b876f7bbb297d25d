"""Solana: the transaction that a payer signed as the owner of the tokens, and everything in it.

Source: guide, "Solana x402 payment payload"; the layout of the instructions is that of the official x402 scheme.
Whoever co-signs as the payer of the fee must let nothing pass that it does not know.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from typing import Any, Literal

from solders.instruction import CompiledInstruction
from solders.message import MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.token import ID as TOKEN_PROGRAM
from solders.token.associated import get_associated_token_address
from solders.transaction import VersionedTransaction

from orchestrator.base.payments import Network
from orchestrator.sandbox.chains import RECIPIENTS
from orchestrator.sandbox.payment import InvalidPayment, Payment

_PAY_TO = Pubkey.from_string(RECIPIENTS[Network.SOLANA].pay_to)
_MINT = Pubkey.from_string(RECIPIENTS[Network.SOLANA].asset)
_COMPUTE_BUDGET = Pubkey.from_string("ComputeBudget111111111111111111111111111111")
_ACCOUNT_PROGRAM = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
_MEMO_PROGRAM = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
_SYSTEM_PROGRAM = Pubkey.default()
_SET_UNIT_LIMIT, _SET_UNIT_PRICE, _TRANSFER_CHECKED = 2, 3, 12
_DECIMALS = 6
_MOST_MICROLAMPORTS = 5_000_000
_LONGEST_MEMO_BYTES = 256
_LONGEST_TRANSACTION_BYTES = 1232

Creates = Literal["no", "create", "create-idempotent"]


def token_account(owner: Pubkey) -> Pubkey:
    """The associated token account that holds an owner's USDC."""
    return get_associated_token_address(owner, _MINT, TOKEN_PROGRAM)


def read_transaction(payload: dict[str, Any]) -> Payment:
    """The payment that a partly signed transaction makes. Raises InvalidPayment."""
    transaction = _transaction(payload.get("transaction"))
    message = transaction.message
    if not isinstance(message, MessageV0) or message.address_table_lookups:
        raise InvalidPayment("the transaction must be versioned, without address tables")
    owner = _owner(transaction, message)
    if payload.get("payer") != str(owner):
        raise InvalidPayment("payload.payer is not who signed the transaction")
    reader = _Instructions(message)
    reader.compute_budget()
    creates = reader.account_creation()
    amount = reader.transfer(owner)
    has_memo = reader.memo()
    reader.end()
    fee_signature = Signature.from_bytes(hashlib.sha512(b"sandbox" + to_bytes_versioned(message)).digest())
    signatures = [fee_signature, transaction.signatures[1]]
    return Payment(
        network=Network.SOLANA,
        payer=str(owner),
        amount=amount,
        nonce=str(transaction.signatures[1]),
        transaction=str(fee_signature),
        blockhash=bytes(message.recent_blockhash),
        creates_account=creates,
        has_memo=has_memo,
        raw=base64.b64encode(bytes(VersionedTransaction.populate(message, signatures))).decode(),
    )


class _Instructions:
    """Reads the instructions of a message one after another; each step raises InvalidPayment for what it is not."""

    def __init__(self, message: MessageV0) -> None:
        self._keys = message.account_keys
        self._left = list(message.instructions)
        if any(index >= len(self._keys) for each in self._left for index in (each.program_id_index, *each.accounts)):
            raise InvalidPayment("an instruction names an account that is not there")

    def compute_budget(self) -> None:
        """A limit and a price of compute units, in this order."""
        limit, price = self._take(_COMPUTE_BUDGET), self._take(_COMPUTE_BUDGET)
        if limit is None or len(limit.data) != 5 or limit.data[0] != _SET_UNIT_LIMIT:
            raise InvalidPayment("the first instruction must set the compute unit limit")
        if price is None or len(price.data) != 9 or price.data[0] != _SET_UNIT_PRICE:
            raise InvalidPayment("the second instruction must set the compute unit price")
        if int.from_bytes(price.data[1:], "little") > _MOST_MICROLAMPORTS:
            raise InvalidPayment("the compute unit price is too high")

    def account_creation(self) -> Creates:
        """The recipient's token account is created, or not; nobody else's."""
        creation = self._take(_ACCOUNT_PROGRAM)
        if creation is None:
            return "no"
        expected = [_PAY_TO, token_account(_PAY_TO), _PAY_TO, _MINT, _SYSTEM_PROGRAM, TOKEN_PROGRAM]
        if self._accounts(creation) != expected:
            raise InvalidPayment("the transaction creates another account than the recipient's")
        if bytes(creation.data) not in (b"", b"\0", b"\1"):
            raise InvalidPayment("the associated token program is asked for something else than an account")
        return "create-idempotent" if bytes(creation.data) == b"\1" else "create"

    def transfer(self, owner: Pubkey) -> int:
        """The atomic amount of TransferChecked from the owner's account to the recipient's."""
        transfer = self._take(TOKEN_PROGRAM)
        if transfer is None or len(transfer.data) != 10 or transfer.data[0] != _TRANSFER_CHECKED:
            raise InvalidPayment("TransferChecked of the token program is expected")
        if self._accounts(transfer) != [token_account(owner), _MINT, token_account(_PAY_TO), owner]:
            raise InvalidPayment("the transfer is not of USDC from the owner's token account to the recipient's")
        if transfer.data[9] != _DECIMALS:
            raise InvalidPayment("USDC has 6 decimals")
        return int.from_bytes(transfer.data[1:9], "little")

    def memo(self) -> bool:
        """Whether there is a memo."""
        memo = self._take(_MEMO_PROGRAM)
        if memo is None:
            return False
        if memo.accounts or len(memo.data) > _LONGEST_MEMO_BYTES:
            raise InvalidPayment("the memo is too long or names accounts")
        try:
            bytes(memo.data).decode()
        except ValueError:
            raise InvalidPayment("the memo is not UTF-8") from None
        return True

    def end(self) -> None:
        """Nothing else may be in the transaction."""
        if self._left:
            raise InvalidPayment(f"an instruction of {self._keys[self._left[0].program_id_index]} is not expected")

    def _take(self, program: Pubkey) -> CompiledInstruction | None:
        """The next instruction, where it is one of that program."""
        if not self._left or self._keys[self._left[0].program_id_index] != program:
            return None
        return self._left.pop(0)

    def _accounts(self, instruction: CompiledInstruction) -> Sequence[Pubkey]:
        return [self._keys[index] for index in instruction.accounts]


def _transaction(value: object) -> VersionedTransaction:
    """The transaction in Base64. The fee payer's place among its signatures must be empty."""
    try:
        data = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
        transaction = VersionedTransaction.from_bytes(data)
    except (binascii.Error, ValueError):
        raise InvalidPayment("payload.transaction is not a transaction in Base64") from None
    if len(data) > _LONGEST_TRANSACTION_BYTES or bytes(transaction) != data:
        raise InvalidPayment("payload.transaction is not a transaction as it is sent")
    return transaction


def _owner(transaction: VersionedTransaction, message: MessageV0) -> Pubkey:
    """Who signed beside the payer of the fee, which must be the recipient; the signature is checked."""
    signatures = transaction.signatures
    if message.header.num_required_signatures != 2 or len(signatures) != 2:
        raise InvalidPayment("the transaction must be signed by the payer of the fee and the owner alone")
    if message.account_keys[0] != _PAY_TO:
        raise InvalidPayment("the payer of the fee is not the recipient that was offered")
    owner = message.account_keys[1]
    if signatures[0] != Signature.default() or not signatures[1].verify(owner, to_bytes_versioned(message)):
        raise InvalidPayment("the signature is not that of the owner of the tokens")
    return owner
