"""The licence of a node, ``IPSFT_lic.xml`` (spec 8): document, check, keeping, and the vendor's tool."""
