"""The release gate: a policy, statistics, a decision, and its attestation. It sees evidence only."""
