"""What runs say. Which module does what:

`statistics` compares optimizers over seeds and sums up many runs. `rules` decide what
the paper says of one figure, `surveys` what it says of many runs, and `computations`
what it says of the algorithm; each returns one of the `verdicts`. `claims` and `ledger`
list what the paper says, and `judgement` applies it to the authors' runs and to ours.
`published` has the authors' runs, `audit` and `first_epochs` examine them. `studies`
are the grids of runs that `findings` rest on.
"""
