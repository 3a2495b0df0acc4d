"""Studies without runs: exact finite MDPs and the tabular algorithms of "Mismatched no More".

And one that only reads: the documents' printed numbers, to be derived again.
"""
