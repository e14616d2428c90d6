"""Networks of many clients, whose rows stay with them, trained and fused round by round.

`_clients` says which rows are whose, `_training` trains clients, as one program where they are alike, `_server` fuses
them and scores the result, and `_federated` has the estimators.
"""
