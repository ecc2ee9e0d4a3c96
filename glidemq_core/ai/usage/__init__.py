"""Usage of jobs: reports, the ledger of attempts, sums, and summaries of spans of time."""
