"""Transfer systems: audio in, the same music on another instrument out. One folder each; ``base`` is the
contract.
"""
