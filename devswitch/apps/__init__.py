"""What a call can be made to do: dialplan applications, which register themselves, and what these are made of."""
