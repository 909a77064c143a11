"""What the tests share: a whole node on ports of its own, callers and gateways played by SIPp."""
