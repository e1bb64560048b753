"""The fault lab: real hosts made from namespaces, and what can go wrong between and on them."""
