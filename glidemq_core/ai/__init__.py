"""The AI primitives: token streams, suspension, approvals, signals, usage and the ledger of attempts."""
