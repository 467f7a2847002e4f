"""What a hand can do to running boards, over HTTP: power, reset, snapshots, the network."""
