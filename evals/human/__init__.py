"""Human evaluation: blinded A/B studies, their ledger, their statistics and their reports."""
