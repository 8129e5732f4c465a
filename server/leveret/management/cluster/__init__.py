"""The HTTP API of a cluster: what one broker answers for all of them.

From the bottom to the top: `marks` (what requests between brokers carry), `peers` (asking other
brokers), `scopes` (where the answer of each resource is), `merged_list`, `combined` and
`definitions` (answers made of those of several brokers), `fronts` (what is in front of the
resources), `state` (members, stores and the database, for operators).
"""
