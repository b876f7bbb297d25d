"""The transaction that moves USDC on Solana (guide, "Solana x402 payment payload").

Where the guide says nothing, it is as the official x402 scheme "exact" has it: the order of the instructions, the
compute budget and the random memo.
"""

import secrets

from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.message import MessageV0
from solders.pubkey import Pubkey

from orchestrator.base.spl import ACCOUNT_PROGRAM, MINT, TOKEN_PROGRAM, token_account

COMPUTE_BUDGET_PROGRAM = Pubkey.from_string("ComputeBudget111111111111111111111111111111")
MEMO_PROGRAM = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
SYSTEM_PROGRAM = Pubkey.from_string("11111111111111111111111111111111")

_DECIMALS = 6
#: Compute units: as the official scheme asks for, and what making an account may need beside that.
_UNITS = 20_000
_ACCOUNT_UNITS = 60_000
_MICROLAMPORTS_PER_UNIT = 1
_MEMO_BYTES = 16


def transfer_message(
    owner: Pubkey, pay_to: Pubkey, amount: int, blockhash: Hash, *, creates_account: bool, memo: bool
) -> MessageV0:
    """A transfer of `amount` atomic USDC whose fee `pay_to` pays; `owner` and `pay_to` have to sign it."""
    units = _UNITS + (_ACCOUNT_UNITS if creates_account else 0)
    instructions = [
        Instruction(COMPUTE_BUDGET_PROGRAM, bytes([2]) + units.to_bytes(4, "little"), []),
        Instruction(COMPUTE_BUDGET_PROGRAM, bytes([3]) + _MICROLAMPORTS_PER_UNIT.to_bytes(8, "little"), []),
        *([_create_account(pay_to)] if creates_account else []),
        _transfer(owner, pay_to, amount),
        *([Instruction(MEMO_PROGRAM, secrets.token_hex(_MEMO_BYTES).encode(), [])] if memo else []),
    ]
    return MessageV0.try_compile(pay_to, instructions, [], blockhash)


def _create_account(owner: Pubkey) -> Instruction:
    """CreateIdempotent: makes the owner's token account, at the owner's cost, unless it is there."""
    accounts = [
        AccountMeta(owner, is_signer=True, is_writable=True),
        AccountMeta(token_account(owner), is_signer=False, is_writable=True),
        AccountMeta(owner, is_signer=False, is_writable=False),
        AccountMeta(MINT, is_signer=False, is_writable=False),
        AccountMeta(SYSTEM_PROGRAM, is_signer=False, is_writable=False),
        AccountMeta(TOKEN_PROGRAM, is_signer=False, is_writable=False),
    ]
    return Instruction(ACCOUNT_PROGRAM, bytes([1]), accounts)


def _transfer(owner: Pubkey, pay_to: Pubkey, amount: int) -> Instruction:
    """TransferChecked of the token program."""
    accounts = [
        AccountMeta(token_account(owner), is_signer=False, is_writable=True),
        AccountMeta(MINT, is_signer=False, is_writable=False),
        AccountMeta(token_account(pay_to), is_signer=False, is_writable=True),
        AccountMeta(owner, is_signer=True, is_writable=False),
    ]
    return Instruction(TOKEN_PROGRAM, bytes([12]) + amount.to_bytes(8, "little") + bytes([_DECIMALS]), accounts)
