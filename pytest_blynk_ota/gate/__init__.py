"""The release gate: policy, statistics, decision, attestation. It sees evidence only."""
