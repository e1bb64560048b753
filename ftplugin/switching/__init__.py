"""What page, command line and node API share about ordered switches: forced takeover, story of a switch, notices for the peer."""
