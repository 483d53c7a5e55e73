"""An original's experiments done again, and a report of what of its README holds.

    tokenjax reproduce cifar_vit --data fashion_mnist --budget 60

`command` runs it, `budget` says how long the runs are, `jobs` do them, `findings` reads
what they found, `costs` measures what the models cost, `report` writes it up.
"""
