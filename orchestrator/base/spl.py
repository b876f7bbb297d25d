"""Where USDC lies on Solana: an owner's associated token account. Imported by what needs it alone: solders is large."""

from solders.pubkey import Pubkey

from orchestrator.base.payments import CHAINS, Network

TOKEN_PROGRAM = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
ACCOUNT_PROGRAM = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
MINT = Pubkey.from_string(CHAINS[Network.SOLANA].usdc)


def token_account(owner: Pubkey) -> Pubkey:
    """The associated token account that holds an owner's USDC."""
    return Pubkey.find_program_address([bytes(owner), bytes(TOKEN_PROGRAM), bytes(MINT)], ACCOUNT_PROGRAM)[0]
